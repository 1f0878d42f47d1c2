// Replaces the loop of the managed runtime nodejs20.x: asks the Runtime API for work over one kept-alive connection,
// calls the handler, answers. It has none of the managed runtime's logging and metrics.
import http from "node:http";
import { handler } from "./reserve.mjs";

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function exchange(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const request = http.request({ hostname, port, agent, method, path: `/2018-06-01/runtime/${path}`, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

for (;;) {
  const next = await exchange("GET", "invocation/next");
  const id = next.headers["lambda-runtime-aws-request-id"];
  process.env._X_AMZN_TRACE_ID = next.headers["lambda-runtime-trace-id"];
  const answer = await handler(JSON.parse(next.body));
  await exchange("POST", `invocation/${id}/response`, JSON.stringify(answer));
}
