//! Tests the contract of the status and lease ports.

use domain::ids::SkuId;
use domain::status::{DropStatus, SkuCounts};
use domain::time::Timestamp;
use ports::Conditional;
use ports::drops::{FreeCounts, HoldLease, Lease, ReadCounts, ReadStatus, WriteStatus};

use crate::fixtures::{NOW, drop_id, id, sku};
use crate::leases::{self, lease, winner};
use crate::race::race;
use crate::{Database, StatusPorts, answered, done};

/// The contract of the status and lease ports, as tests; `$setup` makes an empty database.
#[macro_export]
macro_rules! status_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [status]:
            a_status_is_written_in_every_copy,
            free_counts_are_kept_by_sku,
            an_older_lease_never_overwrites,
            a_newer_lease_overwrites_whatever_its_clock_says,
            an_older_survey_of_the_same_lease_does_not_overwrite,
            a_lease_is_taken_and_kept,
            a_lease_that_is_held_is_shown,
            a_lease_changes_hands_once_expired_and_its_fencing_grows,
            an_expired_lease_that_nobody_took_is_kept_as_it_was,
            leases_of_drops_are_apart,
            of_16_who_want_the_lease_one_gets_it,
        );
    };
}

fn status(fencing: u64, as_of: Timestamp, free: u32) -> DropStatus {
    DropStatus {
        drop: drop_id(),
        as_of,
        fencing,
        skus: vec![SkuCounts {
            sku: sku(),
            allocated: 30,
            free,
            held: 30 - free,
            ordered: 0,
            sold: 0,
        }],
    }
}

fn counts(fencing: u64, as_of: Timestamp, free: u8) -> FreeCounts {
    FreeCounts {
        as_of,
        fencing,
        free: vec![free, 0, 24],
    }
}

/// The number of copies of each document; other tests use another number.
const COPIES: u8 = 5;

/// Writes both documents, and returns whether they were written. The two writes must have the same outcome.
async fn write(store: &impl StatusPorts, fencing: u64, as_of: Timestamp, free: u8) -> bool {
    let status = status(fencing, as_of, u32::from(free));
    let status = answered(store.write_status(&status, COPIES).await);
    let counts = counts(fencing, as_of, free);
    let counts = answered(store.write_counts(&drop_id(), &sku(), &counts, COPIES).await);
    assert_eq!(status, counts);
    status == Conditional::Done
}

/// Asserts that every copy has these values.
async fn is_there(store: &impl StatusPorts, fencing: u64, as_of: Timestamp, free: u8) {
    for replica in 0..COPIES {
        let found = answered(store.status(&drop_id(), replica).await);
        let status = status(fencing, as_of, u32::from(free));
        assert_eq!(found, Some(status), "copy {replica}");
        let found = answered(store.counts(&drop_id(), &sku(), replica).await);
        assert_eq!(found, Some(counts(fencing, as_of, free)), "copy {replica}");
    }
}

pub async fn a_status_is_written_in_every_copy(database: &impl Database) {
    let store = database.status();
    for replica in 0..COPIES {
        assert_eq!(answered(store.status(&drop_id(), replica).await), None);
    }
    assert!(write(&store, 1, NOW, 7).await);
    is_there(&store, 1, NOW, 7).await;
    assert_eq!(answered(store.status(&id("winter"), 0).await), None);
    assert_eq!(answered(store.status(&drop_id(), COPIES).await), None);
    assert_eq!(answered(store.counts(&drop_id(), &sku(), COPIES).await), None);
    assert!(write(&store, 1, NOW.plus_seconds(1), 6).await);
    is_there(&store, 1, NOW.plus_seconds(1), 6).await;
}

pub async fn free_counts_are_kept_by_sku(database: &impl Database) {
    let store = database.status();
    let many = FreeCounts {
        as_of: NOW,
        fencing: 3,
        free: (0..4096u32).map(|n| u8::try_from(n % 25).unwrap()).collect(),
    };
    let none = FreeCounts {
        free: vec![],
        ..many.clone()
    };
    let (tee, hat, cup): (SkuId, SkuId, SkuId) = (id("TEE"), id("HAT"), id("CUP"));
    assert_eq!(answered(store.counts(&drop_id(), &tee, 3).await), None);
    done(store.write_counts(&drop_id(), &tee, &many, COPIES).await);
    done(store.write_counts(&drop_id(), &hat, &none, COPIES).await);
    assert_eq!(answered(store.counts(&drop_id(), &tee, 3).await), Some(many));
    assert_eq!(answered(store.counts(&drop_id(), &hat, 3).await), Some(none));
    assert_eq!(answered(store.counts(&drop_id(), &cup, 3).await), None);
    assert_eq!(answered(store.counts(&id("winter"), &tee, 3).await), None);
}

pub async fn an_older_lease_never_overwrites(database: &impl Database) {
    let store = database.status();
    assert!(write(&store, 5, NOW, 7).await);
    for fencing in [0, 4] {
        assert!(!write(&store, fencing, NOW.plus_seconds(9), 3).await, "{fencing}");
    }
    is_there(&store, 5, NOW, 7).await;
}

pub async fn a_newer_lease_overwrites_whatever_its_clock_says(database: &impl Database) {
    let store = database.status();
    assert!(write(&store, 9, NOW, 7).await);
    assert!(write(&store, 10, NOW.plus_millis(-1500), 6).await);
    is_there(&store, 10, NOW.plus_millis(-1500), 6).await;
}

pub async fn an_older_survey_of_the_same_lease_does_not_overwrite(database: &impl Database) {
    let store = database.status();
    assert!(write(&store, 5, NOW, 7).await);
    assert!(write(&store, 5, NOW, 7).await, "a repeat is as good as the first");
    assert!(!write(&store, 5, NOW.plus_millis(-1), 3).await);
    is_there(&store, 5, NOW, 7).await;
}

/// Requests the lease at `now`, for ten seconds.
async fn acquire(store: &impl StatusPorts, holder: &str, now: Timestamp) -> Result<Lease, Lease> {
    answered(store.acquire(&drop_id(), holder, now, now.plus_seconds(10)).await)
}

pub async fn a_lease_is_taken_and_kept(database: &impl Database) {
    let store = database.status();
    leases::is_taken_and_kept(async |holder, now| acquire(&store, holder, now).await).await;
}

pub async fn a_lease_that_is_held_is_shown(database: &impl Database) {
    let store = database.status();
    leases::is_shown_while_held(async |holder, now| acquire(&store, holder, now).await).await;
}

pub async fn a_lease_changes_hands_once_expired_and_its_fencing_grows(database: &impl Database) {
    let store = database.status();
    leases::changes_hands_once_expired(async |holder, now| acquire(&store, holder, now).await).await;
}

pub async fn an_expired_lease_that_nobody_took_is_kept_as_it_was(database: &impl Database) {
    let store = database.status();
    let first = acquire(&store, "one", NOW).await.unwrap();
    let kept = acquire(&store, "one", NOW.plus_seconds(60)).await;
    assert_eq!(kept, Ok(lease("one", first.fencing, 70)));
}

pub async fn leases_of_drops_are_apart(database: &impl Database) {
    let store = database.status();
    assert!(acquire(&store, "one", NOW).await.is_ok());
    let until = NOW.plus_seconds(10);
    let other = store.acquire(&id("winter"), "two", NOW, until).await;
    assert_eq!(answered(other).unwrap().holder, "two");
}

pub async fn of_16_who_want_the_lease_one_gets_it(database: &impl Database) {
    let store = database.status();
    let mut fencing = 0;
    for round in 0..4u32 {
        let now = NOW.plus_seconds(round * 10);
        let names: Vec<String> = (0..16).map(|n| format!("r{round}-{n}")).collect();
        let drop = drop_id();
        let outcomes = race(16, |n| store.acquire(&drop, &names[n], now, now.plus_seconds(10))).await;
        let won = winner(&outcomes, |lease| lease);
        assert!(won.fencing > fencing);
        fencing = won.fencing;
    }
}
