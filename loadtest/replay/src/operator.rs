//! Acts as the operator: creates the drop, publishes it, and does the plan's acts.

use api::operator::{
    DropBody, EndBody, ExtendBody, KeepBody, OperatorDropView, OperatorOrderList, RestockBody, SkuBody,
};
use domain::ids::DropId;
use http::Method;
use loadtest::audit::Promise;
use loadtest::facts::Entry;
use memory::TestRuntime;

use crate::client::{Call, Client};
use crate::fleet::Answer;
use crate::function::Function;
use crate::plan::{ActKind, DropPlan, sku_name};

/// The time limit for an answer, in milliseconds.
const PATIENCE_MS: u32 = 8_000;
/// The largest number of times that the operator starts a request again after all tries failed.
const MOST_ROUNDS: u32 = 20;

/// The units that the operator put on sale, as the API confirmed them.
#[derive(Debug, Clone, Default)]
pub struct OnSale {
    /// The confirmed units, by SKU.
    pub units: Vec<u32>,
    /// Restocked units with an unknown outcome, by SKU.
    pub in_doubt: Vec<u32>,
    /// Whether the drop was published.
    pub published: bool,
    /// The time at which the cancellation was first sent, in milliseconds since 1970; `None` without a
    /// cancellation.
    pub cancelled_ms: Option<i64>,
    /// The time at which the last restock was first sent, in milliseconds since 1970; `None` without a
    /// restock.
    pub restocked_ms: Option<i64>,
}

pub struct Operator {
    client: Client,
    drop: DropId,
}

impl Operator {
    /// The operator of `drop`, who sends requests with `client`.
    #[must_use]
    pub const fn new(client: Client, drop: DropId) -> Self {
        Self { client, drop }
    }

    /// Creates the drop and publishes it.
    pub async fn publish(&self) -> OnSale {
        let plan = &self.client.world.plan.drop;
        let mut on_sale = OnSale {
            units: plan.units.clone(),
            in_doubt: vec![0; plan.units.len()],
            ..OnSale::default()
        };
        let draft = self.call("", Method::PUT);
        let draft = body(plan).map_or(draft.clone(), |body| draft.json(&body));
        if self.act(draft, &[200, 201]).await.is_some() {
            // After many faults, the drop may have ended before it was published.
            on_sale.published = self.is_done(self.post("/publish")).await;
        }
        on_sale
    }

    /// Does the plan's acts, each at its time.
    pub async fn operate(&self, mut on_sale: OnSale) -> OnSale {
        let world = &self.client.world;
        for (nth, act) in world.plan.acts.iter().enumerate() {
            let wait_ms = i64::from(act.at_ms) - world.now_ms();
            world.sleep(wait_ms).await;
            self.one(nth, act.kind, &mut on_sale).await;
        }
        on_sale
    }

    async fn one(&self, nth: usize, kind: ActKind, on_sale: &mut OnSale) {
        let world = &self.client.world;
        let now_ms = world.now().as_millis();
        match kind {
            ActKind::Pause => {
                self.is_done(self.post("/pause")).await;
            }
            ActKind::Resume => {
                self.is_done(self.post("/resume")).await;
            }
            ActKind::Extend(by_ms) => {
                let plan = &world.plan.drop;
                let ends_ms = i64::from(plan.opens_ms) + i64::from(plan.lasts_ms) + i64::from(by_ms);
                let body = ExtendBody {
                    ends_at: TestRuntime::START.plus_millis(ends_ms).into(),
                };
                if self.is_done(self.post("/extend").json(&body)).await {
                    world.note("extended");
                }
            }
            ActKind::Restock { sku, units } => {
                let Ok(name) = sku_name(sku).parse() else {
                    return;
                };
                on_sale.restocked_ms = Some(now_ms);
                let restock = self.post("/restock").json(&RestockBody { sku: name, units });
                let count = if self.is_done(restock.key(format!("restock-{nth}"))).await {
                    world.note("restocked");
                    on_sale.units.get_mut(sku)
                } else {
                    // The restock was refused or not answered. An earlier try of the request may still take
                    // effect, so its units are in doubt.
                    on_sale.in_doubt.get_mut(sku)
                };
                if let Some(count) = count {
                    *count += units;
                }
            }
            ActKind::Cancel => {
                on_sale.cancelled_ms = Some(now_ms);
                if self.is_done(self.post("/cancel")).await {
                    world.note("cancelled");
                }
            }
            ActKind::Decide { ends } => self.decide(&format!("decide-{nth}"), ends).await,
        }
    }

    /// Keeps or ends each order that has waited too long for the gateway, of the first page of such orders. The requests
    /// have the idempotency key `key`.
    pub async fn decide(&self, key: &str, ends: bool) {
        let path = "/operator/orders?turn=gateway&limit=50";
        let listed = Call::new(Function::OperateDrop, Method::GET, path);
        let Some(listed) = self.settled(&listed, &[200]).await else {
            return;
        };
        let orders = listed.json().map(|list: OperatorOrderList| list.orders);
        let world = &self.client.world;
        for order in orders.into_iter().flatten().filter(|order| order.late) {
            let act = if ends { "end" } else { "keep" };
            let path = format!("/operator/orders/{}/{act}", order.order_id);
            let call = Call::new(Function::OperateDrop, Method::POST, path).key(key.to_owned());
            let call = if ends {
                world.record(Entry::EndAsked {
                    at_ms: world.now().as_millis(),
                    order_id: order.order_id.to_string(),
                });
                call.json(&EndBody {
                    not_at_gateway: false,
                })
            } else {
                call.json(&KeepBody { seconds: 60 })
            };
            // The answer 409 is expected: the order may have changed in the meantime.
            if let Some(answer) = self.settled(&call, &[200, 202, 409]).await
                && answer.status != 409
            {
                world.note(match ends {
                    true => "an operator ended an order",
                    false => "an operator kept an order",
                });
            }
        }
    }

    fn call(&self, act: &str, method: Method) -> Call {
        let path = format!("/operator/drops/{}{act}", self.drop);
        Call::new(Function::OperateDrop, method, path)
    }

    fn post(&self, act: &str) -> Call {
        self.call(act, Method::POST)
    }

    /// Sends an act until there is a final answer; whether it is done. The answer 409 is expected: the drop may
    /// already be over or cancelled.
    async fn is_done(&self, call: Call) -> bool {
        self.act(call, &[200, 409]).await == Some(200)
    }

    /// Sends an act until there is a final answer. Returns its status; `None` if there is no final answer or
    /// the status is not expected.
    async fn act(&self, call: Call, expected: &[u16]) -> Option<u16> {
        let answer = self.settled(&call, expected).await?;
        if answer.status == 200 && answer.json::<OperatorDropView>().is_none() {
            let what = format!("the operator's {} was answered without a drop", call.path);
            self.client.world.broken(Promise::UnexpectedAnswers, what);
        }
        Some(answer.status)
    }

    /// Sends a request until there is a final answer; `None` without a final answer, or if its status is not
    /// expected.
    async fn settled(&self, call: &Call, expected: &[u16]) -> Option<Answer> {
        for _ in 0..MOST_ROUNDS {
            let Some(answer) = self.client.ask(call, PATIENCE_MS).await else {
                continue;
            };
            if expected.contains(&answer.status) {
                return Some(answer);
            }
            let (method, path) = (&call.method, &call.path);
            let what = format!("the operator's {method} {path} was answered {answer}");
            self.client.world.broken(Promise::UnexpectedAnswers, what);
            return None;
        }
        None
    }
}

fn body(plan: &DropPlan) -> Option<DropBody> {
    let starts_at = TestRuntime::START.plus_millis(i64::from(plan.opens_ms));
    let sku = |(number, units): (usize, &u32)| {
        Some(SkuBody {
            sku: sku_name(number).parse().ok()?,
            title: format!("Edition {number}"),
            price_minor: 4_900,
            units: *units,
        })
    };
    Some(DropBody {
        title: "A small drop".to_owned(),
        currency: "EUR".parse().ok()?,
        starts_at: starts_at.into(),
        ends_at: starts_at.plus_millis(i64::from(plan.lasts_ms)).into(),
        hold_seconds: plan.hold_seconds,
        payment_seconds: plan.payment_seconds,
        retry_seconds: plan.retry_seconds,
        gateway_wait_seconds: plan.gateway_wait_seconds,
        per_shopper_limit: plan.per_shopper_limit,
        expected_shoppers: 1_000,
        listed: true,
        start_may_be_past: true,
        skus: plan.units.iter().enumerate().filter_map(sku).collect(),
    })
}
