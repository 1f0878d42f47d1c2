//! Tests the contract of the drop ports.

use domain::drops::{Drop, DropState};
use domain::ids::DropId;
use domain::limits::DROP_COPIES;
use domain::time::Timestamp;
use ports::Conditional;
use ports::drops::{DropPage, ListDrops, Listing, ReadDrop, StoreDrop};

use crate::fixtures::{NOW, draft, id};
use crate::race::{race, winners};
use crate::{Database, DropPorts, REFUSED, answered};

/// The contract of the drop ports, as tests; `$setup` makes an empty database.
#[macro_export]
macro_rules! drops_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [drops]:
            a_drop_is_stored_version_by_version,
            a_version_is_stored_once,
            a_version_out_of_turn_is_refused,
            of_8_changes_at_once_one_is_stored,
            a_drop_is_listed_once_it_is_scheduled_and_for_good,
            a_drop_that_was_never_scheduled_is_not_listed,
            the_calendar_comes_in_pages_latest_start_first,
            an_unlisted_drop_stands_in_a_part_of_its_own,
            every_copy_changes_with_a_published_drop,
        );
    };
}

async fn stored(drops: &impl DropPorts, drop: &Drop) {
    assert_eq!(answered(drops.store(drop).await), Conditional::Done, "{drop:?}");
}

/// Stores a drop through all its versions until it is scheduled.
async fn published(drops: &impl DropPorts, name: &str, starts_in: u32, listed: bool) -> Drop {
    let draft = Drop {
        listed,
        ..draft(name, starts_in)
    };
    stored(drops, &draft).await;
    let publishing = draft.start_publishing(NOW).unwrap();
    stored(drops, &publishing).await;
    let scheduled = publishing.finish_publishing().unwrap();
    stored(drops, &scheduled).await;
    scheduled
}

async fn listed(drops: &impl DropPorts) -> Vec<Drop> {
    answered(drops.published(Listing::Listed, None, 100).await).drops
}

pub async fn a_drop_is_stored_version_by_version(database: &impl Database) {
    let drops = database.drops();
    assert_eq!(answered(drops.drop(&id("autumn")).await), None);
    let draft = draft("autumn", 60);
    stored(&drops, &draft).await;
    assert_eq!(answered(drops.drop(&draft.id).await), Some(draft.clone()));
    let publishing = draft.start_publishing(NOW).unwrap();
    stored(&drops, &publishing).await;
    assert_eq!(answered(drops.drop(&draft.id).await), Some(publishing));
    assert_eq!(answered(drops.drop(&id("winter")).await), None);
}

pub async fn a_version_is_stored_once(database: &impl Database) {
    let drops = database.drops();
    let draft = draft("autumn", 60);
    stored(&drops, &draft).await;
    assert_eq!(answered(drops.store(&draft).await), REFUSED);
    let publishing = draft.start_publishing(NOW).unwrap();
    stored(&drops, &publishing).await;
    assert_eq!(answered(drops.store(&publishing).await), REFUSED);
}

pub async fn a_version_out_of_turn_is_refused(database: &impl Database) {
    let drops = database.drops();
    let draft = draft("autumn", 60);
    let at_version = |version| Drop {
        version,
        title: "Other".to_owned(),
        ..draft.clone()
    };
    for version in [0, 2, 3, u64::MAX] {
        assert_eq!(answered(drops.store(&at_version(version)).await), REFUSED);
    }
    assert_eq!(answered(drops.drop(&draft.id).await), None);
    stored(&drops, &draft).await;
    for version in [0, 1, 3, u64::MAX] {
        assert_eq!(answered(drops.store(&at_version(version)).await), REFUSED);
    }
    assert_eq!(answered(drops.drop(&draft.id).await), Some(draft));
}

pub async fn of_8_changes_at_once_one_is_stored(database: &impl Database) {
    let drops = database.drops();
    for version in [1, 2] {
        let change = |n| Drop {
            version,
            title: format!("Autumn {n}"),
            ..draft("autumn", 60)
        };
        let versions: Vec<Drop> = (0..8).map(change).collect();
        let outcomes = race(8, |n| drops.store(&versions[n])).await;
        let done = winners(&outcomes, 1, &());
        let found = answered(drops.drop(&id("autumn")).await);
        assert_eq!(found.as_ref(), Some(&versions[done[0]]));
    }
}

pub async fn a_drop_is_listed_once_it_is_scheduled_and_for_good(database: &impl Database) {
    let drops = database.drops();
    let draft = draft("autumn", 60);
    stored(&drops, &draft).await;
    assert_eq!(listed(&drops).await, vec![]);
    let publishing = draft.start_publishing(NOW).unwrap();
    stored(&drops, &publishing).await;
    assert_eq!(listed(&drops).await, vec![]);
    let mut drop = publishing.finish_publishing().unwrap();
    stored(&drops, &drop).await;
    assert_eq!(listed(&drops).await, vec![drop.clone()]);
    for next in [
        (|drop: &Drop| drop.set_paused(true).unwrap()) as fn(&Drop) -> Drop,
        |drop| drop.cancel().unwrap(),
        |drop| drop.finish_cancelling().unwrap(),
    ] {
        drop = next(&drop);
        stored(&drops, &drop).await;
        assert_eq!(listed(&drops).await, vec![drop.clone()]);
    }
    assert_eq!(drop.state, DropState::Cancelled);
}

pub async fn a_drop_that_was_never_scheduled_is_not_listed(database: &impl Database) {
    let drops = database.drops();
    let first = draft("autumn", 60);
    stored(&drops, &first).await;
    stored(&drops, &first.cancel().unwrap()).await;
    let second = draft("winter", 60);
    stored(&drops, &second).await;
    let publishing = second.start_publishing(NOW).unwrap();
    stored(&drops, &publishing).await;
    stored(&drops, &publishing.cancel().unwrap()).await;
    assert_eq!(listed(&drops).await, vec![]);
}

pub async fn the_calendar_comes_in_pages_latest_start_first(database: &impl Database) {
    let drops = database.drops();
    let empty = answered(drops.published(Listing::Listed, None, 5).await);
    assert_eq!(empty.drops, vec![]);
    assert_eq!(empty.next, None);
    stored(&drops, &draft("hidden", 50)).await;
    let (mut listed, mut unlisted) = (Vec::new(), Vec::new());
    // Two drops of each part have the same start.
    for n in 0..6u32 {
        let starts_in = 100 + n / 2 * 60;
        listed.push(published(&drops, &format!("d{n}"), starts_in, true).await);
        unlisted.push(published(&drops, &format!("u{n}"), starts_in, false).await);
    }
    for (listing, all) in [(Listing::Listed, listed), (Listing::Unlisted, unlisted)] {
        for limit in [1, 2, 4, 6, 100] {
            let mut found: Vec<Drop> = Vec::new();
            let mut after: Option<(Timestamp, DropId)> = None;
            loop {
                let page = answered(drops.published(listing, after.as_ref(), limit).await);
                let DropPage { drops: page, next } = page;
                let left = all.len() - found.len();
                assert_eq!(page.len(), left.min(usize::from(limit)), "no page is short");
                found.extend(page);
                let Some(next) = next else { break };
                let last = found.last().unwrap();
                assert_eq!(next, (last.starts_at, last.id.clone()));
                after = Some(next);
            }
            assert!(found.is_sorted_by(|a, b| a.starts_at >= b.starts_at));
            assert_eq!(found.len(), all.len());
            assert!(
                all.iter().all(|drop| found.contains(drop)),
                "each once, with limit {limit}"
            );
        }
    }
}

pub async fn an_unlisted_drop_stands_in_a_part_of_its_own(database: &impl Database) {
    let drops = database.drops();
    let drop = published(&drops, "autumn", 60, false).await;
    assert_eq!(answered(drops.drop(&drop.id).await), Some(drop.clone()));
    let cancelling = drop.cancel().unwrap();
    for next in [drop, cancelling.clone(), cancelling.finish_cancelling().unwrap()] {
        // The first version is stored already, so its second write is refused.
        drops.store(&next).await.unwrap();
        assert_eq!(listed(&drops).await, vec![]);
        let unlisted = answered(drops.published(Listing::Unlisted, None, 100).await);
        assert_eq!(unlisted.drops, vec![next]);
        assert_eq!(unlisted.next, None);
    }
}

/// Asserts that every copy equals `drop`.
async fn is_copied(drops: &impl DropPorts, of: &str, drop: Option<&Drop>) {
    for copy in 0..DROP_COPIES {
        let found = answered(drops.copy(&id(of), copy).await);
        assert_eq!(found.as_ref(), drop, "copy {copy}");
    }
    assert_eq!(answered(drops.copy(&id(of), DROP_COPIES).await), None);
}

pub async fn every_copy_changes_with_a_published_drop(database: &impl Database) {
    let drops = database.drops();
    is_copied(&drops, "autumn", None).await;
    let draft = draft("autumn", 60);
    stored(&drops, &draft).await;
    let publishing = draft.start_publishing(NOW).unwrap();
    stored(&drops, &publishing).await;
    is_copied(&drops, "autumn", None).await;
    let scheduled = publishing.finish_publishing().unwrap();
    stored(&drops, &scheduled).await;
    is_copied(&drops, "autumn", Some(&scheduled)).await;
    let paused = scheduled.set_paused(true).unwrap();
    stored(&drops, &paused).await;
    is_copied(&drops, "autumn", Some(&paused)).await;
    let late = scheduled.announce(Some("Late.".to_owned())).unwrap();
    assert_eq!(late.version, paused.version);
    assert_eq!(answered(drops.store(&late).await), REFUSED);
    is_copied(&drops, "autumn", Some(&paused)).await;
    let cancelling = paused.cancel().unwrap();
    stored(&drops, &cancelling).await;
    let cancelled = cancelling.finish_cancelling().unwrap();
    stored(&drops, &cancelled).await;
    is_copied(&drops, "autumn", Some(&cancelled)).await;
    is_copied(&drops, "winter", None).await;
}
