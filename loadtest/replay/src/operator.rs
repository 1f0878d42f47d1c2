//! Acts as the operator: creates the drop, publishes it, and does the plan's acts.

use api::operator::{
    DropBody, EndBody, ExtendBody, KeepBody, OperatorDropView, OperatorOrderList, RestockBody, SkuBody,
};
use domain::ids::DropId;
use http::Method;
use loadtest::audit::Promise;
use loadtest::facts::Entry;

use crate::client::{Call, Client};
use crate::fleet::Answer;
use crate::function::Function;
use crate::plan::{Act, ActKind, DropPlan, Sends, sku_name};

const SENDS: Sends = Sends {
    clicks: 1,
    patience_ms: 8_000,
};
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
    pub async fn publish(&self, plan: &DropPlan) -> OnSale {
        let mut on_sale = OnSale {
            units: plan.units.clone(),
            in_doubt: vec![0; plan.units.len()],
            ..OnSale::default()
        };
        let draft = self.call("", Method::PUT);
        let draft = self.body(plan).map_or(draft.clone(), |body| draft.json(&body));
        if self.act(draft, &[200, 201]).await.is_some() {
            // The answer 409 is expected: after many faults, the drop may have ended before it was published.
            let published = self.act(self.call("/publish", Method::POST), &[200, 409]).await;
            on_sale.published = published == Some(200);
        }
        on_sale
    }

    /// Does `acts`, each at its time.
    pub async fn operate(&self, plan: &DropPlan, acts: &[Act], mut on_sale: OnSale) -> OnSale {
        for (nth, act) in acts.iter().enumerate() {
            let wait_ms = i64::from(act.at_ms) - self.client.world.now_ms();
            self.client.world.sleep(wait_ms).await;
            self.one(nth, act.kind, plan, &mut on_sale).await;
        }
        on_sale
    }

    async fn one(&self, nth: usize, kind: ActKind, plan: &DropPlan, on_sale: &mut OnSale) {
        let world = &self.client.world;
        let now_ms = world.now().as_millis();
        // The answer 409 is expected: the drop may already be over or cancelled.
        const DONE: &[u16] = &[200, 409];
        match kind {
            ActKind::Pause => {
                self.act(self.call("/pause", Method::POST), DONE).await;
            }
            ActKind::Resume => {
                self.act(self.call("/resume", Method::POST), DONE).await;
            }
            ActKind::Extend(by_ms) => {
                let ends_at = memory::TestRuntime::START
                    .plus_millis(i64::from(plan.opens_ms) + i64::from(plan.lasts_ms) + i64::from(by_ms));
                let body = ExtendBody {
                    ends_at: ends_at.into(),
                };
                let extend = self.call("/extend", Method::POST).json(&body);
                if self.act(extend, DONE).await == Some(200) {
                    world.note("extended");
                }
            }
            ActKind::Restock { sku, units } => {
                let Ok(name) = sku_name(sku).parse() else {
                    return;
                };
                on_sale.restocked_ms = Some(now_ms);
                let restock = self.call("/restock", Method::POST);
                let restock = restock.json(&RestockBody { sku: name, units });
                let done = self.act(restock.key(format!("restock-{nth}")), DONE).await;
                let count = match done {
                    Some(200) => {
                        world.note("restocked");
                        on_sale.units.get_mut(sku)
                    }
                    // The restock was refused or not answered. An earlier try of the request may still take
                    // effect, so its units are in doubt.
                    _ => on_sale.in_doubt.get_mut(sku),
                };
                if let Some(count) = count {
                    *count += units;
                }
            }
            ActKind::Cancel => {
                on_sale.cancelled_ms = Some(now_ms);
                if self.act(self.call("/cancel", Method::POST), DONE).await == Some(200) {
                    world.note("cancelled");
                }
            }
            ActKind::Decide { ends } => self.decide(nth, ends).await,
        }
    }

    /// Keeps or ends each order that has waited too long for the gateway, of the first page of such orders.
    async fn decide(&self, nth: usize, ends: bool) {
        let path = "/operator/orders?turn=gateway&limit=50";
        let listed = Call::new(Function::OperateDrop, Method::GET, path);
        let Some(listed) = self.settled(&listed, &[200]).await else {
            return;
        };
        let orders = listed
            .json::<OperatorOrderList>()
            .map(|list| list.orders)
            .unwrap_or_default();
        let world = &self.client.world;
        for order in orders.into_iter().filter(|order| order.late) {
            let act = if ends { "end" } else { "keep" };
            let path = format!("/operator/orders/{}/{act}", order.order_id);
            let call = Call::new(Function::OperateDrop, Method::POST, path).key(format!("decide-{nth}"));
            let call = if ends {
                self.client.journal.write(Entry::EndAsked {
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
        let act = format!("{} {}", call.method, call.path);
        for _ in 0..MOST_ROUNDS {
            let answers = self.client.insist(call, SENDS).await;
            let Some(answer) = answers.into_iter().next() else {
                continue;
            };
            if !expected.contains(&answer.status) {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                let what = format!("the operator's {act} was answered {} {body}", answer.status);
                self.client.world.broken(Promise::UnexpectedAnswers, what);
                return None;
            }
            return Some(answer);
        }
        None
    }

    fn body(&self, plan: &DropPlan) -> Option<DropBody> {
        let starts_at = memory::TestRuntime::START.plus_millis(i64::from(plan.opens_ms));
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
}
