// A reservation as a plain Node.js function: checks the shopper's token and the body, reads the drop at most once a second,
// and claims one unit of the shopper's first shard with the same conditional UpdateItem and the same answer as `reserve`.
// It never reads the stock, uses no second shard and retries nothing. These omissions only make it cheaper.
import { createHash } from "node:crypto";
import { DynamoDBClient, GetItemCommand, UpdateItemCommand } from "@aws-sdk/client-dynamodb";
import { createLocalJWKSet, jwtVerify } from "jose";

const { STOCK_TABLE, DROPS_TABLE, SHOPPER_KEYS } = process.env;
const MAX_BODY_BYTES = 16 * 1024;
const CACHE_MS = 1_000;

// Created once for each process; the SDK keeps its connections alive.
const dynamodb = new DynamoDBClient({ maxAttempts: 2 });
const keys = createLocalJWKSet(JSON.parse(SHOPPER_KEYS).issuers[0]);
const drops = new Map();

class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

async function shopperOf(headers) {
  const [scheme, token] = (headers.authorization ?? "").split(" ");
  if (scheme.toLowerCase() !== "bearer" || !token || token.length > 8192) {
    throw new Problem(401, "unauthenticated", "Send `Authorization: Bearer` and a token.");
  }
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ["EdDSA"],
      issuer: "stampede",
      audience: "stampede-shopper",
      requiredClaims: ["sub", "exp", "iat"],
      clockTolerance: 2,
    });
    if (payload.sub) return hash("shopper", payload.iss, payload.sub).toString("base64url").slice(0, 16);
  } catch {
    // The answer does not say why: that would help only an attacker.
  }
  throw new Problem(401, "unauthenticated", "The token is not valid or has expired. Sign in again.");
}

function idempotencyKeyOf(headers) {
  const value = headers["idempotency-key"] ?? "";
  if (!/^[!-~]{1,64}$/.test(value)) {
    throw new Problem(400, "invalid_request", "Send an `Idempotency-Key` of 1 to 64 printable characters.");
  }
  return value;
}

function bodyOf(event) {
  const type = (event.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  if (type !== "application/json") throw new Problem(415, "unsupported_media_type", "Send the body as JSON.");
  const text = event.isBase64Encoded ? Buffer.from(event.body ?? "", "base64").toString() : (event.body ?? "");
  if (Buffer.byteLength(text) > MAX_BODY_BYTES) throw new Problem(413, "too_large", "Send less.");
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Problem(400, "invalid_request", "The body is not JSON.");
  }
  const known = body !== null && typeof body === "object" && Object.keys(body).every((k) => k === "sku" || k === "quantity");
  if (!known || typeof body.sku !== "string" || !/^[A-Za-z0-9-]{1,16}$/.test(body.sku) || !Number.isInteger(body.quantity)) {
    throw new Problem(400, "invalid_request", "Correct the fields named and send the request again.");
  }
  return body;
}

async function dropOf(id) {
  const now = Date.now();
  const known = drops.get(id);
  if (known && now - known.at < CACHE_MS) return known.drop;
  const { Item } = await dynamodb.send(
    new GetItemCommand({ TableName: DROPS_TABLE, Key: { pk: { S: id } }, ConsistentRead: true }),
  );
  const drop = Item && JSON.parse(Item.doc.S);
  if (drops.size >= 256) drops.clear();
  drops.set(id, { at: now, drop });
  return drop;
}

/** SHA-256 over texts, each preceded by its length. */
function hash(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(Buffer.byteLength(part)));
    hash.update(length).update(part);
  }
  return hash.digest();
}

function shards(plan) {
  const last = plan.at(-1);
  return last ? last.first + Math.ceil(last.units / last.shard_units) : 0;
}

async function reserve(event) {
  const id = event.pathParameters?.drop_id ?? "";
  const shopper = await shopperOf(event.headers);
  const key = idempotencyKeyOf(event.headers);
  const { sku: code, quantity } = bodyOf(event);
  const drop = /^[a-z0-9-]{1,20}$/.test(id) ? await dropOf(id) : undefined;
  if (!drop || drop.state !== "scheduled") throw new Problem(404, "not_found", "There is no such drop.");
  const now = Date.now();
  if (now >= drop.ends_at) throw new Problem(409, "closed", "The drop takes no more reservations.");
  if (drop.paused) throw new Problem(409, "paused", "Reservations are stopped for a moment; follow the status.");
  if (now < drop.starts_at) throw new Problem(409, "not_open", "Ask again when the drop has started.");
  const sku = drop.skus.find((s) => s.sku === code);
  if (!sku) throw new Problem(404, "not_found", "The drop has no such SKU.");
  if (quantity < 1 || quantity > drop.per_shopper_limit) {
    throw new Problem(400, "invalid_request", "Ask for a quantity that one shopper may buy.");
  }
  const shard = Number(hash("shard", id, code, shopper).readBigUInt64BE() % BigInt(shards(sku.plan)));
  const nonce = hash("nonce", id, shopper, key).toString("base64url").slice(0, 10);
  const deadline = now + drop.hold_seconds * 1000;
  const claim = `h${quantity.toString(36)}${deadline.toString(36).padStart(8, "0")}${nonce}`;
  try {
    await dynamodb.send(
      new UpdateItemCommand({
        TableName: STOCK_TABLE,
        Key: { pk: { S: `${id}#${code}#${shard}` } },
        UpdateExpression: "SET f = f - :u, c.#me = :held",
        ConditionExpression: "f >= :u AND attribute_not_exists(c.#me)",
        ExpressionAttributeNames: { "#me": shopper },
        ExpressionAttributeValues: { ":u": { N: String(quantity) }, ":held": { S: claim } },
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      }),
    );
  } catch (error) {
    if (error.name === "ConditionalCheckFailedException") {
      throw new Problem(409, "sold_out", "Every unit is held; some may return. Follow the status.");
    }
    throw error;
  }
  const money = (units) => ({ amount_minor: sku.price_minor * units, currency: drop.currency });
  return {
    reservation_id: `${id}.${code}.${shard}.${nonce}`,
    drop_id: id,
    sku: code,
    quantity,
    status: "held",
    expires_at: new Date(deadline).toISOString(),
    price: money(1),
    amount: money(quantity),
  };
}

export async function handler(event) {
  try {
    const view = await reserve(event);
    return {
      statusCode: 201,
      headers: { "content-type": "application/json", "cache-control": "no-store" },
      body: JSON.stringify(view),
    };
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem(500, "internal", "Something is wrong on our side.");
    if (problem.status === 500) console.error(error);
    return {
      statusCode: problem.status,
      headers: { "content-type": "application/problem+json", "cache-control": "no-store" },
      body: JSON.stringify({ status: problem.status, code: problem.code, detail: problem.message }),
    };
  }
}
