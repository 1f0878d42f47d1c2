//! Tests a long random history, compared with the domain's own shard.

use domain::claim::Claim;
use domain::ids::ShopperId;
use domain::shard::Shard;
use ports::runtime::Random;
use ports::stock::{ClaimStock, GiveBackStock};
use ports::{Conditional, StoreError};

use crate::fixtures::{self, held, key, shopper};
use crate::{Database, allocated, answered, shard};
use memory::TestRuntime;

const STEPS: u32 = 300;
const SEED: u64 = 20_270_115;

/// The outcome that the domain gives for a write on `model`.
fn expected<E>(
    model: &mut Shard,
    write: impl FnOnce(&mut Shard) -> Result<(), E>,
) -> Conditional<Option<Shard>> {
    match write(model) {
        Ok(()) => Conditional::Done,
        Err(_) => Conditional::Refused(Some(model.clone())),
    }
}

pub async fn a_long_history_is_as_the_domain_says(database: &impl Database) {
    let stock = database.stock();
    let runtime = TestRuntime::new(SEED);
    let pick = |below: u64| runtime.random() % below;
    let mut model = Shard::allocated(9);
    allocated(&stock, 9).await;
    // All claims so far, including removed ones, since conditions must also fail for claims that no longer exist.
    let mut seen: Vec<(ShopperId, Claim)> = Vec::new();
    for step in 0..STEPS {
        let name = format!("s{}", pick(6));
        let units = u32::try_from(pick(4)).unwrap() + 1;
        let claim = held(&name, &pick(5).to_string(), units);
        let who = shopper(&name);
        let old = (!seen.is_empty())
            .then(|| seen[usize::try_from(runtime.random() % 64).unwrap() % seen.len()].clone());
        let (outcome, right): (Result<Conditional<Option<Shard>>, StoreError>, _) = match (pick(3), old) {
            (0, _) | (_, None) => {
                let outcome = stock.claim(&key(0), &who, &claim).await;
                seen.push((who.clone(), claim.clone()));
                (outcome, expected(&mut model, |m| m.claim(&who, claim)))
            }
            (1, Some((victim, old))) => {
                let outcome = stock.take_over(&key(0), &who, &claim, &victim, &old).await;
                seen.push((who.clone(), claim.clone()));
                let right = expected(&mut model, |m| m.take_over(&who, claim, &victim, &old));
                (outcome, right)
            }
            (_, Some((whose, old))) => {
                let given = fixtures::seen(0, whose.as_str(), old.clone());
                let outcome = stock.give_back(&given).await;
                let outcome = outcome.map(|outcome| outcome.map(|()| Some(model.clone())));
                (outcome, expected(&mut model, |m| m.give_back(&whose, &old)))
            }
        };
        assert_eq!(answered(outcome), right, "seed {SEED}, step {step}");
        if step % 10 == 0 {
            assert_eq!(shard(&stock, 0).await, model, "seed {SEED}, step {step}");
        }
    }
    assert_eq!(shard(&stock, 0).await, model, "seed {SEED}");
}
