//! Tests reads of claims and shards.

use std::collections::BTreeMap;

use domain::ids::ShardKey;
use domain::limits::MAX_SHARDS_PER_SKU;
use domain::shard::Shard;
use ports::stock::{AllocateStock, ClaimStock, Consistency, Peek, PeekStock, ReadClaim, SurveyStock};

use crate::fixtures::{NOW, drop_id, held, id, key, shopper};
use crate::race::race;
use crate::{Database, allocated, answered, assert_broken, done};

pub async fn a_claim_is_read_as_it_is(database: &impl Database) {
    let stock = database.stock();
    let read = async |index, name| answered(stock.read_claim(&key(index), &shopper(name)).await);
    assert_eq!(read(0, "ada").await, None, "no shard");
    allocated(&stock, 3).await;
    assert_eq!(read(0, "ada").await, None, "no claim");
    let (hold, order) = (held("ada", "k", 1), held("bob", "k", 2));
    let order = order.ordered(NOW, NOW.plus_seconds(120)).unwrap();
    done(stock.claim(&key(0), &shopper("ada"), &hold).await);
    done(stock.claim(&key(0), &shopper("bob"), &order).await);
    assert_eq!(read(0, "ada").await, Some(hold));
    assert_eq!(read(0, "bob").await, Some(order));
    assert_eq!(read(0, "eve").await, None);
    assert_eq!(read(1, "ada").await, None);
}

pub async fn a_peek_shows_what_exists_in_the_order_asked_for(database: &impl Database) {
    let stock = database.stock();
    let ada = shopper("ada");
    let nothing = answered(stock.peek(&drop_id(), &ada, &[key(0)]).await);
    assert_eq!(nothing, Peek::default());
    for index in 0..8 {
        let units = u32::from(index) + 1;
        done(stock.allocate(&key(index), units).await);
    }
    let shown = |n: &u16| (key(*n), Shard::allocated(u32::from(*n) + 1));
    for (asked, expected) in [
        (&[5, 2][..], &[5, 2][..]),
        (&[2, 5], &[2, 5]),
        (&[3, 3], &[3]),
        (&[9, 1, 8, 0], &[1, 0]),
        (&[7, 6, 5, 4, 3, 2, 1, 0], &[7, 6, 5, 4, 3, 2, 1, 0]),
        (&[], &[]),
    ] {
        let keys: Vec<ShardKey> = asked.iter().copied().map(key).collect();
        let peek = answered(stock.peek(&drop_id(), &ada, &keys).await);
        let expected: Vec<(ShardKey, Shard)> = expected.iter().map(shown).collect();
        assert_eq!(peek.shards, expected, "{asked:?}");
        assert_eq!(peek.purchased, 0);
    }
}

pub async fn a_remembered_shard_belongs_to_a_shopper_and_a_sku(database: &impl Database) {
    let stock = database.stock();
    const LAST: u16 = MAX_SHARDS_PER_SKU - 1;
    let (ada, bob) = (shopper("ada"), shopper("bob"));
    let cap = ShardKey {
        sku: id("CAP"),
        ..key(0)
    };
    let of = async |who, keys: &[ShardKey]| answered(stock.peek(&drop_id(), who, keys).await).remembered;
    assert_eq!(of(&ada, &[key(0)]).await, None);
    for index in [7, LAST] {
        answered(stock.remember(&key(index), &ada).await);
        assert_eq!(of(&ada, &[key(0)]).await, Some(index));
    }
    assert_eq!(of(&ada, std::slice::from_ref(&cap)).await, None, "another SKU");
    assert_eq!(of(&ada, &[]).await, None, "no SKU");
    assert_eq!(of(&bob, &[key(0)]).await, None, "another shopper");
    answered(
        stock
            .remember(
                &ShardKey {
                    index: 3,
                    ..cap.clone()
                },
                &ada,
            )
            .await,
    );
    assert_eq!(of(&ada, &[key(0), key(1)]).await, Some(LAST));
    assert_eq!(of(&ada, &[cap]).await, Some(3));
    let peek = answered(stock.peek(&drop_id(), &ada, &[key(0)]).await);
    assert_eq!((peek.purchased, peek.lapses), (0, None));
}

pub async fn a_peek_too_wide_is_a_mistake(database: &impl Database) {
    let stock = database.stock();
    let nine: Vec<ShardKey> = (0..9).map(key).collect();
    assert_broken(stock.peek(&drop_id(), &shopper("ada"), &nine).await);
    assert_broken(stock.peek(&id("winter"), &shopper("ada"), &[key(0)]).await);
}

pub async fn a_survey_shows_hundreds_of_shards(database: &impl Database) {
    let stock = database.stock();
    let made = race(230, |n| {
        let stock = &stock;
        async move { stock.allocate(&key(u16::try_from(n).unwrap()), 24).await }
    })
    .await;
    assert!(made.iter().all(ports::Conditional::is_done));
    // Some shards do not exist, and some are requested twice.
    let keys: Vec<ShardKey> = (0..300).chain(10..20).map(key).collect();
    for consistency in [Consistency::Strong, Consistency::Eventual] {
        let found = answered(stock.survey(&keys, consistency).await);
        assert_eq!(found.len(), 230);
        let by_key: BTreeMap<ShardKey, Shard> = found.into_iter().collect();
        assert_eq!(by_key.len(), 230);
        assert!(by_key.values().all(|shard| *shard == Shard::allocated(24)));
        assert!((0..230).all(|n| by_key.contains_key(&key(n))));
        assert_eq!(answered(stock.survey(&[], consistency).await), vec![]);
    }
}
