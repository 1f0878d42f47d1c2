// Buys one unit through a client whose types are generated from docs/openapi.json: an operator publishes a drop, a shopper
// finds it, reserves, checks out, and follows the order until it is paid. The stack is the one that API_URL names.
//
// The lines below `@ts-expect-error` must not compile: they prove that paths, bodies and problem codes are typed.

import { strict as assert } from "node:assert";
import { setTimeout as pause } from "node:timers/promises";

import createClient from "openapi-fetch";

import type { components, paths } from "./api.js";

type Schemas = components["schemas"];

const PATIENCE_MS = 60_000;
const BETWEEN_POLLS_MS = 100;

/** A client with this token. The answer 503 asks for the same request again, so the client repeats it with the same key. */
function client(token?: string) {
    const patient = async (request: Request): Promise<Response> => {
        for (let attempt = 1; ; attempt++) {
            const sent = request.clone();
            if (attempt > 1) sent.headers.set("idempotency-attempt", `${attempt}`);
            const response = await fetch(sent);
            if (response.status !== 503 || attempt > 20) return response;
            await pause(1_000 * Number(response.headers.get("retry-after") ?? 1));
        }
    };
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    return createClient<paths>({ baseUrl: setting("API_URL"), headers, fetch: patient });
}

function setting(name: string): string {
    const value = process.env[name];
    assert(value, `${name} is not set`);
    return value;
}

/** The body of the answer. A problem ends the purchase with an error. */
async function answered<T>(call: Promise<{ data?: T; error?: Pick<Schemas["Problem"], "code" | "detail"> }>): Promise<T> {
    const { data, error } = await call;
    if (error) throw new Error(`${error.code}: ${error.detail}`);
    assert(data !== undefined, "an answer without a body");
    return data;
}

/** Repeats `ask` until `wished` accepts the answer, at most for `PATIENCE_MS`. */
async function until<T>(what: string, ask: () => Promise<T>, wished: (answer: T) => boolean): Promise<T> {
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await pause(BETWEEN_POLLS_MS)) {
        const answer = await ask();
        if (wished(answer)) return answer;
    }
    throw new Error(`${what}: not within ${PATIENCE_MS / 1_000} s`);
}

async function publish(drop_id: string): Promise<void> {
    const operator = client(setting("OPERATOR_TOKEN"));
    const params = { path: { drop_id } };
    const at = (seconds: number) => new Date(Date.now() + seconds * 1_000).toISOString();
    const body: Schemas["DropBody"] = {
        title: "Autumn drop", currency: "EUR", starts_at: at(-5), start_may_be_past: true, ends_at: at(3_600), hold_seconds: 120, payment_seconds: 300,
        per_shopper_limit: 2, expected_shoppers: 100, skus: [{ sku: "TEE-M", title: "Tee, M", price_minor: 4_900, units: 20 }],
    };
    await answered(operator.PUT("/operator/drops/{drop_id}", { params, body }));
    const published = await answered(operator.POST("/operator/drops/{drop_id}/publish", { params }));
    assert.equal(published.state satisfies Schemas["DropState"], "scheduled");
}

async function buy(drop_id: string): Promise<Schemas["OrderView"]> {
    const visitor = client();
    const shopper = client(setting("SHOPPER_TOKEN"));
    const path = { drop_id };

    const listed = () => answered(visitor.GET("/drops", { params: { query: { limit: 10 } } }));
    await until("the drop is listed", listed, (list) => list.drops.some((drop) => drop.drop_id === drop_id));
    const drop = await answered(visitor.GET("/drops/{drop_id}", { params: { path } }));
    const wanted = drop.skus[0];
    assert(wanted, "the drop has no SKU");

    const reserve = (who: ReturnType<typeof client>, key: string) =>
        who.POST("/drops/{drop_id}/reservations", {
            params: { path, header: { "Idempotency-Key": key } },
            body: { sku: wanted.sku, quantity: 1 },
        });
    // A request without a token gets a problem whose code is in the generated types.
    const stranger = await reserve(visitor, "first");
    assert.equal(stranger.error?.code, "unauthenticated");

    const held = await answered(reserve(shopper, "first"));
    const repeated = await answered(reserve(shopper, "first"));
    assert.equal(repeated.reservation_id, held.reservation_id, "the same key answers the same reservation");

    const { error: refused, response } = await reserve(shopper, "second");
    assert(refused?.code === "reservation_exists", `another key was answered ${response.status} ${refused?.code}`);
    assert.equal(response.status, 409);
    assert.equal(refused.reservation_id, held.reservation_id);
    // @ts-expect-error: there is no such code.
    void (stranger.error?.code === "reservation_exist");
    // @ts-expect-error: this operation never answers with that code.
    void (stranger.error?.code === "not_prepared");
    // @ts-expect-error: there is no such path.
    void (() => visitor.GET("/drop"));
    // @ts-expect-error: the key is missing.
    void (() => shopper.POST("/drops/{drop_id}/reservations", { params: { path }, body: { sku: "TEE-M", quantity: 1 } }));

    const placed = await answered(
        shopper.POST("/orders", {
            params: { header: { "Idempotency-Key": "checkout" } },
            body: {
                reservation_id: held.reservation_id, amount: held.amount, payment_method: "pm_card_visa",
                shipping: {
                    name: "Ada Example", line1: "1 Example Way", postal_code: "10115", city: "Berlin", country: "DE",
                    email: "ada@example.org",
                },
            },
        }),
    );
    const order = () => answered(shopper.GET("/orders/{order_id}", { params: { path: { order_id: placed.order_id } } }));
    return until("the order is final", order, ({ status }) => !["placed", "paying", "action_required", "payment_failed"].includes(status));
}

const drop_id = `client-${Date.now().toString(36)}`;
await publish(drop_id);
const order = await buy(drop_id);
assert.equal(order.status, "paid", `the order ended as ${order.status}, ${order.reason}`);
const price = (order.amount.amount_minor / 100).toFixed(2);
console.log(`bought ${order.quantity} × ${order.sku} of ${order.drop_id} for ${price} ${order.amount.currency}: order ${order.order_id} is ${order.status}`);
