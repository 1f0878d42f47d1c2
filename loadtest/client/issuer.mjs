// Runs an external issuer, npm's oauth2-mock-server, by commands in lines of JSON. The answer to each line is one line of JSON.
//
//     {"generate": "RS256", "kid": "a"}     makes a new key and publishes it at once
//     {"only": "b"}                         removes all other keys
//     {"token": "ada", "kid": "a"}          makes a token of this subject, signed with that key
import { createInterface } from "node:readline";
import { OAuth2Server } from "oauth2-mock-server";

const AUDIENCE = "drops";
const keys = new Map();
let server = new OAuth2Server();
await server.start(0, "127.0.0.1");
const { port } = server.address();
const url = server.issuer.url;

async function restart(kept) {
    await server.stop();
    server = new OAuth2Server();
    await server.issuer.keys.add(kept);
    await server.start(port, "127.0.0.1");
    server.issuer.url = url;
}

async function answer(command) {
    if (command.generate) {
        const key = await server.issuer.keys.generate(command.generate, { kid: command.kid });
        keys.set(command.kid, key);
        return { kid: key.kid };
    }
    if (command.only) {
        await restart(keys.get(command.only));
        return { kid: command.only };
    }
    const claims = (_header, payload) => Object.assign(payload, { sub: command.token, aud: AUDIENCE });
    return { token: await server.issuer.buildToken({ kid: command.kid, scopesOrTransform: claims }) };
}

console.log(JSON.stringify({ issuer: url, audience: AUDIENCE, jwks_uri: `http://127.0.0.1:${port}/jwks` }));
for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(JSON.parse(line))));
}
await server.stop();
