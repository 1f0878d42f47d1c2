use std::collections::BTreeMap;

use crate::crowd::MOST_FURTHER;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;
use crate::drops::{DropDraft, DropState};
use crate::limits::CLOCK_SKEW_MS;
use crate::plan::ShardPlan;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HOLD_SECONDS: u32 = 30;

/// An open drop with one SKU of `allocation` units, and `ada`'s request for `units` of these units.
struct Scene {
    drop: Drop,
    request: Request,
}

impl Scene {
    fn new(allocation: u32, limit: u32, units: u32) -> Self {
        let sku = Sku {
            sku: "TEE".parse().unwrap(),
            title: "Tee".to_owned(),
            price_minor: 4_900,
            units: allocation,
            plan: ShardPlan::default(),
        };
        let draft = DropDraft {
            title: "Autumn".to_owned(),
            currency: "EUR".parse().unwrap(),
            starts_at: NOW.plus_millis(-1),
            ends_at: NOW.plus_millis(1),
            hold_seconds: HOLD_SECONDS,
            payment_seconds: 60,
            retry_seconds: 60,
            gateway_wait_seconds: 7_200,
            per_shopper_limit: limit,
            expected_shoppers: 1_000,
            listed: true,
            skus: vec![sku],
        };
        let id: DropId = "d".parse().unwrap();
        let drop = Drop::draft(id.clone(), draft).start_publishing(NOW).unwrap();
        let drop = Drop {
            state: DropState::Scheduled,
            ..drop
        };
        let request = Request {
            drop: id,
            sku: "TEE".parse().unwrap(),
            units,
            shopper: ada(),
            idempotency_key: "k".to_owned(),
            is_repeat: false,
        };
        Self { drop, request }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted::check(&self.request, &self.drop, NOW).unwrap()
    }

    fn check(&self) -> Result<(), Refused> {
        Wanted::check(&self.request, &self.drop, NOW).map(|_| ())
    }
}

/// A drop of ten shards with 24 units each and a limit of four units, and a request for two units.
fn ten_shards() -> Scene {
    Scene::new(240, 4, 2)
}

fn ada() -> ShopperId {
    "ada".parse().unwrap()
}

fn bob() -> ShopperId {
    "bob".parse().unwrap()
}

/// The nonce of `ada`'s request with the idempotency key `key`. The request of a [`Scene`] has the key `k`.
fn nonce(key: &str) -> Nonce {
    let (drop, sku) = ("d".parse().unwrap(), "TEE".parse().unwrap());
    Nonce::of_request(&drop, &sku, &ada(), key, NOW)
}

fn held(units: u32, seconds_left: i64, key: &str) -> Claim {
    Claim::held(units, NOW.plus_millis(seconds_left * 1_000), nonce(key))
}

fn ordered(units: u32, key: &str) -> Claim {
    Claim {
        state: ClaimState::Ordered,
        ..held(units, -100, key)
    }
}

/// A hold of `bob` that any shopper may take over.
fn returnable(units: u32) -> Claim {
    Claim::held(units, NOW.plus_millis(-CLOCK_SKEW_MS), nonce("bob's"))
}

/// A shard with an allocation of 24, with `free` free units and these claims.
fn shard(free: u32, claims: impl IntoIterator<Item = (ShopperId, Claim)>) -> Shard {
    Shard {
        allocated: 24,
        free,
        sold: 0,
        claims: claims.into_iter().collect(),
    }
}

fn look(step: Step<'_>) -> Look<'_> {
    match step {
        Step::Look(look) => look,
        other => panic!("{other:?}"),
    }
}

fn write(step: Step<'_>) -> Write<'_> {
    match step {
        Step::Write(write) => write,
        other => panic!("{other:?}"),
    }
}

fn count(step: Step<'_>) -> Count<'_> {
    match step {
        Step::Count(count) => count,
        other => panic!("{other:?}"),
    }
}

fn read_status(step: Step<'_>) -> ReadStatus<'_> {
    match step {
        Step::ReadStatus(status) => status,
        other => panic!("{other:?}"),
    }
}

fn done(step: Step<'_>) -> (Result<Reserved, Refused>, Option<Scarcity>) {
    match step {
        Step::Done(outcome, learnt) => (outcome, learnt),
        other => panic!("{other:?}"),
    }
}

/// The refusal of a search that ended, and that learnt no scarcity to cache.
fn refusal(step: Step<'_>) -> Refused {
    let (outcome, learnt) = done(step);
    assert_eq!(learnt, None);
    outcome.unwrap_err()
}

fn indices(look: &Look<'_>) -> Vec<u16> {
    look.shards.iter().map(|key| key.index).collect()
}

/// Answers a look: `image` gives the image of each requested shard by its index.
fn shows<'a>(step: Step<'a>, image: impl Fn(u16) -> Shard) -> Step<'a> {
    let look = look(step);
    let shards = look.shards.iter().map(|key| (key.clone(), image(key.index)));
    let shards = shards.collect();
    look.showed(shards, 0, None, None)
}

/// The step after a look at the shopper's two shards that found no units.
fn own_are_empty<'a>(wanted: &'a Wanted<'a>) -> Step<'a> {
    shows(wanted.search(None, None), |_| shard(0, []))
}

fn scarce(units: u32, available: u32, availability: Availability) -> Scarcity {
    Scarcity {
        units,
        available,
        availability,
    }
}

// The following tests check what the drop requires of a request.

#[test]
fn only_an_open_drop_admits_a_request() {
    let open = ten_shards();
    assert_eq!(open.check(), Ok(()));
    let changed = |change: &dyn Fn(&mut Drop)| {
        let mut scene = ten_shards();
        change(&mut scene.drop);
        scene.check()
    };
    let late = changed(&|drop| drop.starts_at = NOW.plus_millis(1_234));
    assert_eq!(late, Err(Refused::NotOpen { in_ms: 1_234 }));
    let long_over = |drop: &mut Drop| {
        let over = NOW.millis_since(drop.last_hold_ends_at());
        drop.ends_at = drop.ends_at.plus_millis(over);
    };
    assert_eq!(changed(&long_over), Err(Refused::Closed));
    let in_state = |state| changed(&|drop| drop.state = state);
    assert_eq!(in_state(DropState::Publishing), Err(Refused::UnknownDrop));
    assert_eq!(in_state(DropState::Cancelled), Err(Refused::Closed));
}

#[test]
fn a_repeat_finds_what_was_accepted_while_the_drop_is_paused_or_just_over_and_others_are_refused() {
    for why in [Refused::Paused, Refused::Closed] {
        let mut scene = ten_shards();
        match why {
            Refused::Paused => scene.drop.paused = true,
            _ => scene.drop.ends_at = NOW,
        }
        let wanted = scene.wanted();
        let scarcity = scarce(1, 0, Availability::AllHeld);
        for known in [None, Some(scarcity)] {
            let with = |mine: Option<Claim>| {
                let step = wanted.search(known, Some(24));
                shows(step, |_| shard(20, mine.clone().map(|mine| (ada(), mine))))
            };
            let mine = held(2, 9, "k");
            assert_eq!(done(with(Some(mine.clone()))).0.unwrap().claim, mine);
            let order = ordered(2, "k");
            assert_eq!(done(with(Some(order.clone()))).0.unwrap().claim, order);
            assert_eq!(refusal(with(None)), why);
            assert_eq!(refusal(with(Some(held(2, -9, "k")))), why);
            assert_eq!(refusal(with(Some(ordered(2, "other")))), why);
        }
    }
}

#[test]
fn a_look_that_is_only_to_find_finds_a_reservation_and_claims_no_units() {
    let mut scene = ten_shards();
    for paused in [false, true] {
        scene.drop.paused = paused;
        let wanted = scene.wanted();
        let nothing = match paused {
            true => Refused::Paused,
            false => Refused::SoldOut(Availability::AllHeld),
        };
        assert_eq!(wanted.shut().cloned(), paused.then_some(Refused::Paused));
        for known in [None, Some(scarce(1, 1, Availability::Available))] {
            let only_to_find = || Step::Look(look(wanted.search(known, None)).only_to_find());
            let with = |mine: Option<Claim>| {
                shows(only_to_find(), |_| {
                    shard(20, mine.clone().map(|mine| (ada(), mine)))
                })
            };
            let mine = held(2, 9, "k");
            assert_eq!(done(with(Some(mine.clone()))).0.unwrap().claim, mine);
            let (outcome, learnt) = done(with(None));
            assert_eq!((outcome, learnt), (Err(nothing.clone()), None));
            let index = further_shard(&wanted);
            let own = look(only_to_find());
            let shards = own
                .shards
                .iter()
                .map(|key| (key.clone(), shard(20, [])))
                .collect();
            let further = look(own.showed(shards, 0, None, Some(index)));
            let shards = vec![(further.shards[0].clone(), shard(9, [(ada(), mine.clone())]))];
            let found = done(further.showed(shards, 0, None, Some(index)));
            assert_eq!(found.0.unwrap().claim, mine);
        }
    }
}

#[test]
fn a_restock_moves_no_shopper_to_other_shards() {
    let mut scene = ten_shards();
    let before = scene.wanted().choice.pair();
    let plan = &mut scene.drop.skus[0].plan;
    plan.extend(2_400, 4, 1_000, Some("r".into())).unwrap();
    assert_eq!(plan.first_shards(), 10);
    assert_eq!(plan.shards(), 110);
    assert_eq!(scene.wanted().choice.pair(), before);
}

#[test]
fn whoever_lets_holds_expire_waits_unless_an_earlier_claim_answers() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let after = |count, last: Timestamp, mine: Option<Claim>| {
        let look = look(wanted.search(None, None));
        let image = shard(20, mine.map(|mine| (ada(), mine)));
        let shards = look.shards.iter().map(|key| (key.clone(), image.clone()));
        let shards = shards.collect();
        look.showed(shards, 0, Some(Lapses { count, last }), None)
    };
    let a_second_ago = NOW.plus_millis(-1_000);
    write(after(1, a_second_ago, None));
    let in_ms = i64::from(HOLD_SECONDS) * 1_000 - 1_000;
    assert_eq!(
        refusal(after(2, a_second_ago, None)),
        Refused::HoldsUnused { in_ms }
    );
    write(after(2, NOW.plus_millis(-1_000 * i64::from(HOLD_SECONDS)), None));
    let mine = held(2, 9, "k");
    assert_eq!(
        done(after(9, a_second_ago, Some(mine.clone()))).0.unwrap().claim,
        mine
    );
}

#[test]
fn sku_and_quantity_must_be_the_drops() {
    let of_units = |units| Scene::new(240, 4, units).check();
    assert_eq!(of_units(0), Err(Refused::BadQuantity { limit: 4 }));
    assert_eq!(of_units(1), Ok(()));
    assert_eq!(of_units(4), Ok(()));
    assert_eq!(of_units(5), Err(Refused::BadQuantity { limit: 4 }));
    let mut scene = ten_shards();
    scene.request.sku = "CAP".parse().unwrap();
    assert_eq!(scene.check(), Err(Refused::UnknownSku));
}

#[test]
fn every_write_would_carry_the_requests_own_hold() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    assert_eq!(wanted.hold, held(2, HOLD_SECONDS.into(), "k"));
    assert_eq!(
        wanted.first_shard().to_string(),
        format!("d#TEE#{}", wanted.choice.pair().0)
    );
}

// The following tests check the first step of a search.

#[test]
fn a_well_filled_first_shard_is_claimed_without_a_look() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let first = write(wanted.search(None, Some(12)));
    assert_eq!(&first.shard, &wanted.first_shard());
    assert_eq!(&first.act, &Act::Claim);
    assert_eq!(first.free_after, 10);
    let reserved = Reserved {
        id: ReservationId {
            shard: wanted.first_shard(),
            nonce: nonce("k"),
        },
        claim: wanted.hold.clone(),
        price: scene.drop.price(&scene.drop.skus[0]),
    };
    assert_eq!(done(first.taken()), (Ok(reserved), None));
}

#[test]
fn otherwise_the_own_two_shards_are_looked_at() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let (first, second) = wanted.choice.pair();
    for free in [None, Some(0), Some(11)] {
        assert_eq!(indices(&look(wanted.search(None, free))), [first, second]);
    }
    let one_shard = Scene::new(24, 4, 2);
    assert_eq!(indices(&look(one_shard.wanted().search(None, None))), [0]);
}

#[test]
fn a_guess_that_was_refused_is_followed_by_a_look() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let guess = || write(wanted.search(None, Some(24)));
    // Each of these refusals contains no claim that settles the request.
    for found in [None, Some(shard(0, [])), Some(shard(24, []))] {
        assert_eq!(indices(&look(guess().refused(found))).len(), 2);
    }
    let mine = held(2, 9, "k");
    let (outcome, _) = done(guess().refused(Some(shard(0, [(ada(), mine.clone())]))));
    assert_eq!(outcome.unwrap().claim, mine, "the lost answer of this very write");
    // The refused write counts as one of the three writes that a search may make.
    let mut step = guess().refused(None);
    step = shows(step, |_| shard(2, []));
    step = write(step).refused(Some(shard(2, [])));
    step = write(step).refused(Some(shard(2, [])));
    count(step);
}

// The following tests check the effect of the shopper's earlier claims.

#[test]
fn an_earlier_claim_of_the_shopper_settles_the_request_or_does_not() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let second = wanted.key(wanted.choice.pair().1);
    let showing = |mine: &Claim| {
        shows(wanted.search(None, None), |index| {
            let mine = (index == second.index).then(|| (ada(), mine.clone()));
            Shard {
                claims: mine.into_iter().collect(),
                ..shard(0, [])
            }
        })
    };
    let (live, order) = (held(2, 1, "k"), ordered(2, "k"));
    for own in [&live, &order] {
        let reserved = done(showing(own)).0.unwrap();
        assert_eq!(&reserved.id.shard, &second);
        assert_eq!(&reserved.id.nonce, &own.nonce);
        assert_eq!(&reserved.claim, own);
    }
    assert_eq!(refusal(showing(&held(1, 1, "k"))), Refused::OtherRequest);
    let other = held(1, 1, "other");
    assert_eq!(
        refusal(showing(&other)),
        Refused::Exists(other.reservation_in(&second))
    );
    // An order in progress settles nothing, but occupies its shard.
    count(showing(&ordered(1, "other")));
    // A request with any key takes over the shopper's own expired hold, once other shoppers may take it over
    // and if the hold frees enough units.
    for key in ["k", "other"] {
        count(showing(&held(2, 0, key)));
        let expired = held(2, -CLOCK_SKEW_MS / 1_000, key);
        let renewal = write(showing(&expired));
        assert_eq!(&renewal.shard, &second);
        assert_eq!(renewal.free_after, 0);
        assert_eq!(renewal.act, Act::take_over((&ada(), &expired)));
        count(showing(&Claim { units: 1, ..expired }));
    }
}

#[test]
fn a_refusal_may_show_a_claim_that_settles_the_request() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let tried = || write(shows(wanted.search(None, None), |_| shard(5, [])));
    let shard_of = |mine: &Claim| Some(shard(5, [(ada(), mine.clone())]));
    let mine = held(2, 9, "k");
    assert_eq!(done(tried().refused(shard_of(&mine))).0.unwrap().claim, mine);
    let other = held(2, 9, "other");
    let exists = Refused::Exists(other.reservation_in(&tried().shard));
    assert_eq!(refusal(tried().refused(shard_of(&other))), exists);
}

#[test]
fn purchases_leave_room_within_the_limit_or_do_not() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let after_purchase_of = |purchased, image: Shard| {
        let look = look(wanted.search(None, None));
        let shards = look.shards.iter().map(|key| (key.clone(), image.clone()));
        let shards = shards.collect();
        look.showed(shards, purchased, None, None)
    };
    write(after_purchase_of(2, shard(5, [])));
    assert_eq!(refusal(after_purchase_of(3, shard(5, []))), Refused::LimitReached);
    assert_eq!(
        refusal(after_purchase_of(u32::MAX, shard(5, []))),
        Refused::LimitReached
    );
    // A repeat still finds its own reservation, whatever the purchases are.
    let mine = shard(5, [(ada(), held(2, 9, "k"))]);
    assert!(done(after_purchase_of(4, mine)).0.is_ok());
}

// The following tests check that a repeat finds a reservation in a further shard.

/// Answers a look at the own two shards, of which neither has a unit, with a purchases item that names a shard.
fn own_are_empty_and_remembered<'a>(wanted: &'a Wanted<'a>, remembered: u16) -> Step<'a> {
    let look = look(wanted.search(None, None));
    let shards = look.shards.iter().map(|key| (key.clone(), shard(0, [])));
    let shards = shards.collect();
    look.showed(shards, 0, None, Some(remembered))
}

/// A shard that is not one of the shopper's own two.
fn further_shard(wanted: &Wanted<'_>) -> u16 {
    let own = wanted.own_shards();
    (0..).find(|index| !own.contains(index)).unwrap()
}

#[test]
fn a_reservation_in_a_further_shard_is_remembered_and_in_an_own_one_is_not() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let claimed = |step| write(shows(step, |_| shard(9, [])));
    let further = || claimed(count(own_are_empty(&wanted)).showed(None, MOST_FURTHER));
    let key = further().shard;
    let remember = |step| match step {
        Step::Remember(remember) => remember,
        other => panic!("{other:?}"),
    };
    let step = remember(further().taken());
    assert_eq!(step.shard(), &key);
    assert_eq!(done(step.attempted()).0.unwrap().claim, wanted.hold);
    // The answer of the write was lost, and the refusal of its repeat shows the claim.
    let mine = (ada(), held(2, 9, "k"));
    let step = remember(further().refused(Some(shard(0, [mine]))));
    assert_eq!(step.shard(), &key);
    done(claimed(wanted.search(None, None)).taken()).0.unwrap();
}

#[test]
fn a_repeat_reads_the_remembered_shard_after_its_own() {
    let mut scene = ten_shards();
    for paused in [false, true] {
        scene.drop.paused = paused;
        let wanted = scene.wanted();
        let index = further_shard(&wanted);
        let step = || own_are_empty_and_remembered(&wanted, index);
        assert_eq!(indices(&look(step())), [index]);
        let with = |claims: Vec<(ShopperId, Claim)>| {
            let look = look(step());
            let shards = vec![(look.shards[0].clone(), shard(0, claims))];
            look.showed(shards, 0, None, Some(index))
        };
        let mine = held(2, 9, "k");
        assert_eq!(done(with(vec![(ada(), mine.clone())])).0.unwrap().claim, mine);
        let other = held(1, 9, "other");
        let exists = Refused::Exists(other.reservation_in(&wanted.key(index)));
        assert_eq!(refusal(with(vec![(ada(), other)])), exists);
        match paused {
            true => assert_eq!(refusal(with(Vec::new())), Refused::Paused),
            false => drop(count(with(Vec::new()))),
        }
    }
}

#[test]
fn an_own_shard_and_one_that_is_not_planned_are_not_read_again() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let (first, second) = wanted.choice.pair();
    for index in [first, second, 10, u16::MAX] {
        count(own_are_empty_and_remembered(&wanted, index));
    }
}

#[test]
fn units_in_the_own_shards_are_claimed_after_the_look_at_the_remembered_one() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let index = further_shard(&wanted);
    let first = look(wanted.search(None, None));
    let shards = first.shards.iter().map(|key| (key.clone(), shard(3, [])));
    let shards = shards.collect();
    let second = look(first.showed(shards, 0, None, Some(index)));
    let shards = vec![(second.shards[0].clone(), shard(0, []))];
    let chosen = write(second.showed(shards, 0, None, Some(index)));
    assert_eq!(chosen.shard, wanted.first_shard());
}

// The following tests check which shard the first write is for.

#[test]
fn the_first_shard_wins_if_it_is_well_filled_else_the_fuller_one() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let (first, second) = wanted.choice.pair();
    let chosen = |in_first, in_second| {
        let step = shows(wanted.search(None, None), |index| {
            shard(if index == first { in_first } else { in_second }, [])
        });
        let write = write(step);
        assert_eq!(write.act, Act::Claim);
        (write.shard.index, write.free_after)
    };
    assert_eq!(chosen(12, 24), (first, 10));
    assert_eq!(chosen(11, 12), (second, 10));
    assert_eq!(chosen(11, 10), (first, 9));
    assert_eq!(chosen(5, 5), (first, 3));
    assert_eq!(chosen(1, 2), (second, 0));
}

#[test]
fn of_further_shards_the_fullest_wins_and_equal_ones_in_the_order_of_the_look() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let further = || count(own_are_empty(&wanted)).showed(None, MOST_FURTHER);
    let asked = indices(&look(further()));
    let chosen = |free: &dyn Fn(u16) -> u32| write(shows(further(), |i| shard(free(i), []))).shard.index;
    assert_eq!(chosen(&|_| 20), asked[0]);
    assert_eq!(chosen(&|index| if index == asked[4] { 21 } else { 20 }), asked[4]);
}

#[test]
fn an_expired_hold_is_taken_over_where_nothing_is_free() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let showing = |claim: Claim| shows(wanted.search(None, None), |_| shard(1, [(bob(), claim.clone())]));
    let step = write(showing(returnable(3)));
    assert_eq!(step.act, Act::take_over((&bob(), &returnable(3))));
    assert_eq!(step.free_after, 2);
    assert_eq!(done(step.taken()).0.unwrap().claim, wanted.hold);
    count(showing(held(3, -3, "bob's")));
}

#[test]
fn after_a_refusal_the_image_it_shows_decides() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let (first, second) = wanted.choice.pair();
    let tried = || write(shows(wanted.search(None, None), |_| shard(5, [])));
    assert_eq!(tried().shard.index, first);
    let next = |found| {
        let next = write(tried().refused(found));
        (next.shard.index, next.act.clone(), next.free_after)
    };
    let claim = Act::Claim;
    assert_eq!(next(Some(shard(4, []))), (first, claim.clone(), 2));
    let take_over = Act::take_over((&bob(), &returnable(2)));
    assert_eq!(
        next(Some(shard(0, [(bob(), returnable(2))]))),
        (first, take_over, 0)
    );
    assert_eq!(next(Some(shard(1, []))), (second, claim.clone(), 3));
    assert_eq!(
        next(Some(shard(9, [(ada(), ordered(1, "other"))]))),
        (second, claim.clone(), 3)
    );
    assert_eq!(next(None), (second, claim, 3));
}

#[test]
fn there_is_no_fourth_write() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let mut step = shows(wanted.search(None, None), |_| shard(5, []));
    for _ in 0..MOST_WRITES {
        step = write(step).refused(Some(shard(5, [])));
    }
    // Units that were seen but could not be claimed may be free again soon, so the refusal is not *gone*.
    let step = count(step).showed(Some((NOW, &[0; 10])), MOST_FURTHER);
    assert_eq!(refusal(step), Refused::SoldOut(Availability::AllHeld));
}

// The following tests check the effect of the data that the process has cached.

#[test]
fn known_scarcity_ends_the_search_after_the_look_for_ones_own() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let ends = |scarcity, own: &Shard| shows(wanted.search(Some(scarcity), None), |_| own.clone());
    let (nothing, one_left) = (
        scarce(1, 0, Availability::AllHeld),
        scarce(2, 1, Availability::Available),
    );
    assert_eq!(
        refusal(ends(nothing, &shard(0, []))),
        Refused::SoldOut(Availability::AllHeld)
    );
    assert_eq!(refusal(ends(one_left, &shard(1, []))), Refused::FewerLeft(1));
    write(ends(nothing, &shard(2, [])));
    let order = ordered(1, "other");
    let wanted_in = wanted.key(wanted.choice.pair().1);
    let in_the_way = Refused::OrderInProgress(order.reservation_in(&wanted_in));
    assert_eq!(refusal(ends(nothing, &shard(2, [(ada(), order)]))), in_the_way);
    // A failed search for three units says nothing about a request for two units.
    count(ends(scarce(3, 2, Availability::Available), &shard(0, [])));
}

#[test]
fn gone_ends_the_search_at_once() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let gone = scarce(2, 0, Availability::Gone);
    assert_eq!(
        refusal(wanted.search(Some(gone), Some(24))),
        Refused::SoldOut(Availability::Gone)
    );
    look(wanted.search(Some(scarce(3, 0, Availability::Gone)), None));
}

// The following tests check the choice of further shards.

#[test]
fn counts_name_the_further_shards() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let (first, second) = wanted.choice.pair();
    let own = [first, second];
    let asked = |as_of_ms: i64, free: &[u8]| {
        let as_of = NOW.plus_millis(as_of_ms);
        indices(&look(
            count(own_are_empty(&wanted)).showed(Some((as_of, free)), MOST_FURTHER),
        ))
    };
    let without_counts = indices(&look(count(own_are_empty(&wanted)).showed(None, MOST_FURTHER)));
    assert_eq!(without_counts.len(), MOST_FURTHER);
    assert!(without_counts.iter().all(|index| !own.contains(index)));
    let others: Vec<u16> = (0..10).filter(|index| !own.contains(index)).collect();
    let mut counts = [1; 10];
    counts[usize::from(others[3])] = 2;
    counts[usize::from(first)] = 2;
    assert_eq!(asked(0, &counts), [others[3]]);
    // The count was made after the request began, so the shopper's own shards may have changed and are
    // read again.
    assert_eq!(asked(1, &counts), [others[3], first]);
    // A shard that was added after the count counts with its whole allocation.
    let added = asked(0, &counts[..8]);
    assert!(
        (8..10).filter(|i| !own.contains(i)).all(|i| added.contains(&i)),
        "{added:?}"
    );
    assert_eq!(asked(1, &[24; 10]).len(), MOST_LOOKED_AT);
}

#[test]
fn where_no_shard_was_counted_to_have_enough_nothing_is_looked_at() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let mut counts = [0; 10];
    let step = count(own_are_empty(&wanted)).showed(Some((NOW, &counts)), MOST_FURTHER);
    read_status(step);
    let other = (0..10)
        .find(|i| ![wanted.choice.pair().0, wanted.choice.pair().1].contains(i))
        .unwrap();
    counts[usize::from(other)] = 1;
    let (outcome, learnt) = done(count(own_are_empty(&wanted)).showed(Some((NOW, &counts)), MOST_FURTHER));
    assert_eq!(outcome, Err(Refused::FewerLeft(1)));
    assert_eq!(learnt, Some(scarce(2, 1, Availability::Available)));
    // A count is ignored for a shard that the search read after the count.
    let mut counts = [0; 10];
    counts[usize::from(wanted.first_shard().index)] = 24;
    read_status(count(own_are_empty(&wanted)).showed(Some((NOW, &counts)), MOST_FURTHER));
}

// The following tests check how a search ends that finds no units.

/// The last step of a search in which each of the shopper's shards is like `image` and every other shard is
/// counted as empty.
fn explain_refusal<'a>(wanted: &'a Wanted<'a>, image: &Shard) -> Step<'a> {
    let step = shows(wanted.search(None, None), |_| image.clone());
    count(step).showed(Some((NOW, &[0; 10])), MOST_FURTHER)
}

#[test]
fn fewer_units_in_one_shard_are_said_and_learnt() {
    let scene = Scene::new(240, 4, 4);
    let wanted = scene.wanted();
    let left = |image: &Shard| {
        let (outcome, learnt) = done(explain_refusal(&wanted, image));
        let Err(Refused::FewerLeft(left)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(learnt, Some(scarce(4, left, Availability::Available)));
        left
    };
    assert_eq!(left(&shard(3, [])), 3);
    assert_eq!(
        left(&shard(1, [(bob(), returnable(2))])),
        1,
        "too few even with the expired hold"
    );
    assert_eq!(
        left(&shard(1, [(ada(), held(2, 0, "other"))])),
        3,
        "with the shopper's own"
    );
    assert_eq!(left(&shard(3, [(bob(), ordered(1, "bob's"))])), 3);
}

#[test]
fn the_best_of_several_offers_is_said() {
    let scene = Scene::new(240, 4, 4);
    let wanted = scene.wanted();
    let first = wanted.choice.pair().0;
    for (in_first, in_second) in [(3, 1), (1, 3)] {
        for own in [false, true] {
            let step = shows(wanted.search(None, None), |index| {
                let free = if index == first { in_first } else { in_second };
                if own && free == 3 {
                    shard(2, [(ada(), held(1, 0, "other"))])
                } else {
                    shard(free, [])
                }
            });
            let (outcome, _) = done(count(step).showed(Some((NOW, &[0; 10])), MOST_FURTHER));
            assert_eq!(outcome, Err(Refused::FewerLeft(3)));
        }
    }
}

#[test]
fn an_order_in_progress_is_in_the_way_of_enough_units_only() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let order = ordered(1, "other");
    let image = |free| shard(free, [(ada(), order.clone())]);
    let behind = Refused::OrderInProgress(order.reservation_in(&wanted.key(wanted.choice.pair().1)));
    assert_eq!(refusal(explain_refusal(&wanted, &image(2))), behind);
    read_status(explain_refusal(&wanted, &image(1)));
}

#[test]
fn units_that_were_counted_but_not_to_be_had_may_be_there_in_a_moment() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    // Ten shards are counted as full. The search reads two and then six of them without finding units; the
    // count of the other two stays.
    let full = Some((NOW, [20; 10].as_slice()));
    let step = count(own_are_empty(&wanted)).showed(full, MOST_FURTHER);
    let step = shows(step, |_| shard(0, []));
    assert_eq!(refusal(step), Refused::SoldOut(Availability::AllHeld));
    // The refusal is the same if an order of the shopper occupies one of the shards.
    let order = shard(5, [(ada(), ordered(1, "other"))]);
    let step = shows(wanted.search(None, None), |_| order.clone());
    let step = shows(count(step).showed(full, MOST_FURTHER), |_| shard(0, []));
    assert_eq!(refusal(step), Refused::SoldOut(Availability::AllHeld));
}

#[test]
fn scarcity_is_remembered_also_where_the_counts_cannot_be_read() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let without_counts = |free| {
        let step = count(own_are_empty(&wanted)).showed(None, MOST_FURTHER);
        shows(step, |_| shard(free, []))
    };
    let (outcome, learnt) = done(without_counts(0));
    let scarcity = Scarcity {
        units: 2,
        available: 0,
        availability: Availability::AllHeld,
    };
    assert_eq!(outcome, Err(scarcity.into()));
    assert_eq!(learnt, Some(scarcity));
    // The process's next request only looks for its own claim.
    let next = shows(wanted.search(learnt, None), |_| shard(0, []));
    assert_eq!(refusal(next), Refused::SoldOut(Availability::AllHeld));
    assert!(matches!(without_counts(20), Step::Write(_)));
}

#[test]
fn gone_is_said_and_learnt_only_when_every_unit_of_the_plan_is_sold() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let says = |counts: Option<(u32, u32)>| {
        let counts = counts.map(|(allocated, sold)| SkuCounts {
            sku: "TEE".parse().unwrap(),
            allocated,
            free: 0,
            held: 0,
            ordered: 0,
            sold,
        });
        let (outcome, learnt) =
            done(read_status(explain_refusal(&wanted, &shard(0, []))).showed(counts.as_ref()));
        let learnt = learnt.unwrap();
        assert_eq!(learnt.units, 2);
        assert_eq!(learnt.available, 0);
        assert_eq!(outcome, Err(Refused::SoldOut(learnt.availability)));
        learnt.availability
    };
    assert_eq!(says(Some((240, 240))), Availability::Gone);
    assert_eq!(says(Some((240, 239))), Availability::AllHeld);
    assert_eq!(says(Some((216, 216))), Availability::AllHeld, "before a restock");
    assert_eq!(says(Some((216, 240))), Availability::AllHeld);
    assert_eq!(says(None), Availability::AllHeld);
}

// The following tests check the invariants for arbitrary results of the steps.

fn claims() -> impl Strategy<Value = Claim> {
    (any::<bool>(), 1u32..=4, -9i64..9, 0..3).prop_map(|(ordered, units, seconds_left, key)| Claim {
        state: if ordered {
            ClaimState::Ordered
        } else {
            ClaimState::Held
        },
        ..held(units, seconds_left, if key == 0 { "k" } else { "other" })
    })
}

fn images() -> impl Strategy<Value = Shard> {
    let free = prop_oneof![0u32..5, 0u32..=24];
    let mine = prop::option::weighted(0.2, claims());
    let theirs = prop::collection::vec(claims(), 0..3);
    (free, mine, theirs).prop_map(|(free, mine, theirs)| {
        let theirs = (0..)
            .zip(theirs)
            .map(|(n, claim)| (format!("s{n}").parse().unwrap(), claim));
        Shard {
            claims: theirs.chain(mine.map(|claim| (ada(), claim))).collect(),
            ..shard(free, [])
        }
    })
}

/// Arbitrary results of the steps of a search, which may contradict each other.
#[derive(Debug, Clone)]
struct Script {
    allocation: u32,
    limit: u32,
    units: u32,
    scarcity: Option<Scarcity>,
    free: Option<u32>,
    purchased: u32,
    remembered: Option<u16>,
    /// For each look, the image of each requested shard; `None` for a shard that does not exist.
    looks: Vec<Vec<Option<Shard>>>,
    /// For each write, the shard that its refusal contains; `None` if the write takes effect.
    writes: Vec<Option<Option<Shard>>>,
    counts: Option<(i64, Vec<u8>)>,
    surveyed: Option<(u32, u32)>,
}

fn scripts() -> impl Strategy<Value = Script> {
    let availability = prop_oneof![
        Just(Availability::Available),
        Just(Availability::AllHeld),
        Just(Availability::Gone)
    ];
    let scarcity = (1u32..5, 0u32..4, availability);
    let scarcity = prop::option::weighted(0.3, scarcity.prop_map(|(u, a, says)| scarce(u, a, says)));
    let looks = prop::collection::vec(prop::option::weighted(0.9, images()), MOST_LOOKED_AT);
    let writes = prop::option::weighted(0.9, prop::option::weighted(0.8, images()));
    let counts = prop::option::of((-1i64..=1, prop::collection::vec(0u8..=24, 0..12)));
    let wish = (1u32..300, 1u32..=4, 0u32..4);
    let known = (
        scarcity,
        prop::option::of(0u32..=24),
        prop_oneof![4 => Just(0u32), 1 => 0u32..5],
        prop::option::weighted(0.4, 0u16..14),
    );
    let shown = (
        prop::collection::vec(looks, 3),
        prop::collection::vec(writes, MOST_WRITES as usize),
        counts,
        prop::option::of((0u32..300, 0u32..300)),
    );
    (wish, known, shown).prop_map(
        |((allocation, limit, units), (scarcity, free, purchased, remembered), shown)| {
            let (looks, writes, counts, surveyed) = shown;
            let units = 1 + units % limit;
            Script {
                allocation,
                limit,
                units,
                scarcity,
                free,
                purchased,
                remembered,
                looks,
                writes,
                counts,
                surveyed,
            }
        },
    )
}

/// The image after a write, as the shard's rules change it; `None` if the rules refuse the write.
fn written(wanted: &Wanted<'_>, image: &Shard, act: &Act) -> Option<Shard> {
    let (mut shard, hold) = (image.clone(), wanted.hold.clone());
    match act {
        Act::Claim => shard.claim(&ada(), hold).ok()?,
        Act::TakeOver { victim, seen } => {
            let due = if *victim == ada() {
                !seen.is_live(NOW)
            } else {
                seen.is_returnable(NOW)
            };
            shard
                .take_over(&ada(), hold, victim, seen)
                .ok()
                .filter(|()| due)?;
        }
    }
    Some(shard)
}

/// The result of the first claim that settles the request, among the images in the order in which they
/// were read.
fn settling<'s>(
    wanted: &Wanted<'_>,
    images: impl IntoIterator<Item = (&'s ShardKey, &'s Shard)>,
) -> Option<Result<(ShardKey, Claim), Refused>> {
    images.into_iter().find_map(|(key, shard)| {
        let mine = shard.claims.get(&ada())?;
        let live = mine.is_live(NOW);
        match (mine.nonce.is_same_request(&nonce("k")), mine.state) {
            (_, ClaimState::Held) if !live => None,
            (true, _) if mine.units != wanted.hold.units => Some(Err(Refused::OtherRequest)),
            (true, _) => Some(Ok((key.clone(), mine.clone()))),
            (false, ClaimState::Held) => Some(Err(Refused::Exists(mine.reservation_in(key)))),
            (false, ClaimState::Ordered) => None,
        }
    })
}

/// Runs a search with the results of a script, and checks each step against all results so far.
fn follow(script: &Script) -> Result<(), TestCaseError> {
    let scene = Scene::new(script.allocation, script.limit, script.units);
    let wanted = scene.wanted();
    let shards = scene.drop.skus[0].plan.shards();
    let (mut looks, mut writes, mut counts, mut status_reads) =
        (script.looks.iter(), script.writes.iter(), 0, 0);
    let mut shown: BTreeMap<u16, Shard> = BTreeMap::new();
    // The result with which the next step must end the search; `None` if the search may go on.
    let mut end: Option<Result<(ShardKey, Claim), Refused>> = None;
    let own = wanted.own_shards();
    let to_read = (script.remembered).filter(|index| *index < shards && !own.contains(index));
    let mut unread = to_read;
    let mut stored = false;
    let mut step = wanted.search(script.scarcity, script.free);
    loop {
        if !matches!(step, Step::Done(..) | Step::Remember(_)) {
            prop_assert_eq!(&end, &None);
        }
        step = match step {
            Step::Look(look) => {
                let answers = looks.next();
                prop_assert!(answers.is_some(), "a fourth look");
                let mut asked = indices(&look);
                let is_first = looks.len() + 1 == script.looks.len();
                prop_assert_eq!(look.is_first(), is_first);
                if is_first {
                    prop_assert_eq!(&asked, &own);
                } else if let Some(index) = unread.take() {
                    prop_assert_eq!(&asked, &[index]);
                }
                prop_assert!(
                    look.shards
                        .iter()
                        .all(|key| *key == wanted.key(key.index) && key.index < shards)
                );
                asked.sort_unstable();
                asked.dedup();
                prop_assert_eq!(asked.len(), look.shards.len());
                prop_assert!((1..=MOST_LOOKED_AT).contains(&asked.len()));
                let answers = look.shards.iter().zip(answers.unwrap());
                let images: Vec<(ShardKey, Shard)> = answers
                    .filter_map(|(key, image)| Some((key.clone(), image.clone()?)))
                    .collect();
                asked.iter().for_each(|index| drop(shown.remove(index)));
                shown.extend(images.iter().map(|(key, image)| (key.index, image.clone())));
                end = settling(&wanted, images.iter().map(|(key, image)| (key, image)));
                if end.is_none()
                    && !(is_first && unread.is_some())
                    && script.purchased + script.units > script.limit
                {
                    end = Some(Err(Refused::LimitReached));
                }
                look.showed(images, script.purchased, None, script.remembered)
            }
            Step::Write(write) => {
                let answer = writes.next();
                prop_assert!(answer.is_some(), "a fourth write");
                let key = write.shard.clone();
                if looks.len() == script.looks.len() {
                    prop_assert_eq!(&key, &wanted.first_shard());
                    prop_assert_eq!(&write.act, &Act::Claim);
                    prop_assert_eq!(Some(write.free_after + script.units), script.free);
                } else {
                    let allowed = shown
                        .get(&key.index)
                        .and_then(|image| written(&wanted, image, &write.act));
                    prop_assert!(allowed.is_some(), "the last image does not allow {:?}", write);
                    prop_assert_eq!(write.free_after, allowed.unwrap().free);
                }
                match answer.unwrap() {
                    None => {
                        end = Some(Ok((key, wanted.hold.clone())));
                        write.taken()
                    }
                    Some(found) => {
                        shown.remove(&key.index);
                        shown.extend(found.clone().map(|found| (key.index, found)));
                        end = settling(&wanted, found.iter().map(|found| (&key, found)));
                        write.refused(found.clone())
                    }
                }
            }
            Step::Remember(remember) => {
                let index = remember.shard().index;
                prop_assert!(!stored && !own.contains(&index) && script.remembered != Some(index));
                stored = true;
                remember.attempted()
            }
            Step::Count(count) => {
                counts += 1;
                prop_assert_eq!(counts, 1);
                prop_assert_eq!(unread, None);
                prop_assert_eq!(looks.len(), 2 - usize::from(to_read.is_some()));
                let counts = script.counts.as_ref();
                count.showed(
                    counts.map(|(ms, free)| (NOW.plus_millis(*ms), free.as_slice())),
                    MOST_FURTHER,
                )
            }
            Step::ReadStatus(status) => {
                status_reads += 1;
                prop_assert_eq!(status_reads, 1);
                let counts = script.surveyed.map(|(allocated, sold)| SkuCounts {
                    sku: "TEE".parse().unwrap(),
                    allocated,
                    free: 0,
                    held: 0,
                    ordered: 0,
                    sold,
                });
                status.showed(counts.as_ref())
            }
            Step::Done(outcome, learnt) => {
                if let Some(scarcity) = learnt {
                    prop_assert_eq!(&outcome, &Err(scarcity.into()));
                }
                let outcome = outcome.map(|reserved| {
                    assert_eq!(reserved.id.nonce, reserved.claim.nonce);
                    (reserved.id.shard, reserved.claim)
                });
                let looked = looks.len() < script.looks.len();
                let is_found = |index| own.contains(&index) || looked && script.remembered == Some(index);
                let must = outcome.as_ref().is_ok_and(|(shard, _)| !is_found(shard.index));
                prop_assert_eq!(stored, must);
                if end.is_some() || outcome.is_ok() {
                    prop_assert_eq!(Some(outcome), end);
                }
                return Ok(());
            }
        };
    }
}

/// A stock whose shards follow the rules of [`Shard`].
struct World {
    shards: BTreeMap<u16, Shard>,
}

impl World {
    /// A stock in which other shoppers have claims. Each entry of `taken` has a claim's units, and whether it
    /// is a hold that any shopper may take over.
    fn new(scene: &Scene, taken: &[(u32, bool)]) -> Self {
        let mut taken = taken.iter().cycle();
        let plan = &scene.drop.skus[0].plan;
        let shards = plan.allocations().map(|(index, units)| {
            let mut shard = Shard::allocated(units);
            for who in 0..4 {
                let (units, expired) = *taken.next().unwrap_or(&(0, false));
                let claim = if expired {
                    returnable(units)
                } else {
                    held(units, 9, "bob's")
                };
                if units > 0 {
                    let _ = shard.claim(&format!("s{who}").parse().unwrap(), claim);
                }
            }
            (index, shard)
        });
        Self {
            shards: shards.collect(),
        }
    }

    fn peek(&self, look: &Look<'_>) -> Vec<(ShardKey, Shard)> {
        let keys = look.shards.iter();
        keys.map(|key| (key.clone(), self.shards[&key.index].clone()))
            .collect()
    }

    fn counts(&self) -> Vec<u8> {
        self.shards
            .values()
            .map(|shard| u8::try_from(shard.free).unwrap())
            .collect()
    }

    /// Makes the write if the shard allows it, and returns whether the write took effect.
    fn write(&mut self, wanted: &Wanted<'_>, write: &Write<'_>) -> bool {
        let shard = self.shards.get_mut(&write.shard.index).unwrap();
        match written(wanted, shard, &write.act) {
            Some(after) => {
                *shard = after;
                true
            }
            None => false,
        }
    }

    /// Another shopper claims all free units of a shard, or returns the claimed units.
    fn stranger(&mut self, index: u16, takes: bool) {
        let index = index % u16::try_from(self.shards.len()).unwrap();
        let shard = self.shards.get_mut(&index).unwrap();
        let eve = "eve".parse().unwrap();
        if let Some(hers) = shard.claims.get(&eve).cloned() {
            shard.give_back(&eve, &hers).unwrap();
        }
        if takes && shard.free > 0 {
            shard.claim(&eve, held(shard.free, 9, "eve's")).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn whatever_it_is_shown_a_search_keeps_its_rules(script in scripts()) {
        follow(&script)?;
    }

    /// The reservation that the search reports is the shopper's only claim, although other shoppers write between its
    /// steps, its reads may be outdated, and answers to its writes may be lost.
    #[test]
    fn a_shopper_ends_with_exactly_the_reservation_that_is_told(
        allocation in 1u32..150,
        units in 1u32..=3,
        taken in prop::collection::vec((0u32..=9, any::<bool>()), 0..20),
        free in prop::option::of(0u32..=24),
        strangers in prop::collection::vec((any::<u16>(), any::<bool>()), 8),
        old_looks: bool,
        lost in prop::collection::vec(any::<bool>(), 3),
        remembered in prop::option::of(0u16..14),
    ) {
        let scene = Scene::new(allocation, 3, units);
        let wanted = scene.wanted();
        let mut world = World::new(&scene, &taken);
        let at_first = World { shards: world.shards.clone() };
        let (mut strangers, mut lost) = (strangers.into_iter(), lost.into_iter());
        let mut remembered = remembered;
        let mut step = wanted.search(None, free);
        let outcome = loop {
            if let Some((index, takes)) = strangers.next() {
                world.stranger(index, takes);
            }
            step = match step {
                Step::Look(look) => {
                    let images = if old_looks { at_first.peek(&look) } else { world.peek(&look) };
                    look.showed(images, 0, None, remembered)
                }
                Step::Remember(remember) => {
                    remembered = Some(remember.shard().index);
                    remember.attempted()
                }
                Step::Write(write) => {
                    let mut taken = world.write(&wanted, &write);
                    if lost.next().unwrap_or(false) {
                        // The caller does not know the outcome of the write, so it repeats the same write.
                        let again = world.write(&wanted, &write);
                        prop_assert!(!(taken && again), "a repeat changed the stock");
                        taken = again;
                    }
                    if taken {
                        write.taken()
                    } else {
                        let found = world.shards[&write.shard.index].clone();
                        write.refused(Some(found))
                    }
                }
                Step::Count(count) => count.showed(Some((NOW, &world.counts())), MOST_FURTHER),
                Step::ReadStatus(status) => status.showed(None),
                Step::Done(outcome, _) => break outcome,
            };
        };
        prop_assert!(world.shards.values().all(Shard::adds_up));
        let own = world.shards.iter().filter_map(|(index, shard)| Some((*index, shard.claims.get(&ada())?.clone())));
        let own: Vec<(u16, Claim)> = own.collect();
        let told: Vec<(u16, Claim)> = outcome.clone().map(|r| (r.id.shard.index, r.claim)).into_iter().collect();
        prop_assert_eq!(own, told);
        // A repeat that looks at the shards finds the reservation without a write, although others have written since.
        for (index, takes) in strangers {
            world.stranger(index, takes);
        }
        if let Ok(reserved) = outcome {
            let first = look(wanted.search(None, None));
            let images = world.peek(&first);
            let step = match first.showed(images, 0, None, remembered) {
                Step::Look(second) => {
                    let images = world.peek(&second);
                    second.showed(images, 0, None, remembered)
                }
                step => step,
            };
            prop_assert_eq!(done(step).0, Ok(reserved));
        }
    }

    #[test]
    fn with_true_counts_and_nobody_else_there_it_finds_what_is_free(
        allocation in 1u32..300,
        units in 1u32..=3,
        taken in prop::collection::vec((0u32..=24, any::<bool>()), 1..40),
    ) {
        let scene = Scene::new(allocation, 3, units);
        let wanted = scene.wanted();
        let mut world = World::new(&scene, &taken);
        let enough = world.shards.values().any(|shard| shard.free >= units);
        let mut writes = 0;
        let mut step = wanted.search(None, None);
        let outcome = loop {
            step = match step {
                Step::Look(look) => { let images = world.peek(&look); look.showed(images, 0, None, None) }
                Step::Remember(remember) => remember.attempted(),
                Step::Write(write) => {
                    writes += 1;
                    prop_assert!(world.write(&wanted, &write));
                    write.taken()
                }
                Step::Count(count) => count.showed(Some((NOW, &world.counts())), MOST_FURTHER),
                Step::ReadStatus(status) => status.showed(None),
                Step::Done(outcome, _) => break outcome,
            };
        };
        prop_assert!(outcome.is_ok() || !enough);
        prop_assert_eq!(writes, u32::from(outcome.is_ok()));
    }
}

#[test]
fn without_a_look_left_no_further_shard_is_read() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let newer = NOW.plus_millis(1);
    let step = count(own_are_empty(&wanted)).showed(Some((newer, &[24; 10])), 0);
    assert_eq!(refusal(step), Refused::SoldOut(Availability::AllHeld));
}

#[test]
fn a_shard_that_had_enough_units_is_no_scarcity() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    let mut step = shows(wanted.search(None, None), |_| shard(2, []));
    for _ in 0..MOST_WRITES {
        step = write(step).refused(Some(shard(2, [])));
    }
    let step = count(step).showed(None, 0);
    assert_eq!(refusal(step), Refused::SoldOut(Availability::AllHeld));
}

#[test]
fn a_look_at_further_shards_is_not_the_first_look() {
    let scene = ten_shards();
    let wanted = scene.wanted();
    assert!(look(wanted.search(None, None)).is_first());
    assert!(!look(count(own_are_empty(&wanted)).showed(None, MOST_FURTHER)).is_first());
}

#[test]
fn only_a_refusal_that_a_newer_drop_may_contradict_needs_it() {
    let id = ten_shards().wanted().key(0).drop;
    let reservation = ordered(1, "k").reservation_in(&ShardKey {
        drop: id,
        sku: "TEE".parse().unwrap(),
        index: 0,
    });
    for (refused, needs) in [
        (Refused::UnknownDrop, true),
        (Refused::Paused, true),
        (Refused::Closed, true),
        (Refused::SoldOut(Availability::Gone), true),
        (Refused::SoldOut(Availability::AllHeld), false),
        (Refused::UnknownSku, false),
        (Refused::NotOpen { in_ms: 1 }, false),
        (Refused::FewerLeft(1), false),
        (Refused::LimitReached, false),
        (Refused::Exists(reservation), false),
        (Refused::Crowded { in_ms: 1 }, false),
    ] {
        assert_eq!(refused.needs_the_newest_drop(), needs, "{refused}");
    }
}
