//! Tests the contract of the ports of the issuers' documents.

use ports::issuers::{ISSUER_COPIES, IssuerList, IssuersDocument, ReadIssuers, StoreIssuers};

use crate::race::{race, winners};
use crate::{Database, IssuerPorts, REFUSED, answered, done};

/// The contract of the ports of the issuers' documents, as tests; `$setup` makes an empty database.
#[macro_export]
macro_rules! issuers_contract {
    ($setup:expr) => {
        $crate::contract_tests!($setup => [issuers]:
            a_document_is_stored_version_by_version,
            each_list_has_a_document_of_its_own,
            a_document_out_of_turn_is_refused,
            of_8_documents_at_once_one_is_stored,
            the_largest_document_is_stored,
        );
    };
}

fn document(version: u64, text: &str) -> IssuersDocument {
    IssuersDocument {
        version,
        text: text.to_owned(),
    }
}

async fn stored(issuers: &impl IssuerPorts, list: IssuerList, document: &IssuersDocument) {
    done(issuers.store_issuers(list, document).await);
    for copy in [0, 1, ISSUER_COPIES - 1] {
        let found = answered(issuers.issuers(list, copy).await);
        assert_eq!(found.as_ref(), Some(document), "{copy}");
    }
    assert_eq!(answered(issuers.issuers(list, ISSUER_COPIES).await), None);
}

pub async fn a_document_is_stored_version_by_version(database: &impl Database) {
    let issuers = database.issuers();
    for list in IssuerList::ALL {
        assert_eq!(answered(issuers.issuers(list, 0).await), None);
        stored(&issuers, list, &document(1, "one")).await;
        stored(&issuers, list, &document(2, "two")).await;
    }
}

pub async fn each_list_has_a_document_of_its_own(database: &impl Database) {
    let issuers = database.issuers();
    stored(&issuers, IssuerList::Shoppers, &document(1, "shoppers")).await;
    assert_eq!(answered(issuers.issuers(IssuerList::Operators, 0).await), None);
    stored(&issuers, IssuerList::Operators, &document(1, "operators")).await;
    let shoppers = answered(issuers.issuers(IssuerList::Shoppers, 0).await);
    assert_eq!(shoppers, Some(document(1, "shoppers")));
}

pub async fn a_document_out_of_turn_is_refused(database: &impl Database) {
    let issuers = database.issuers();
    let list = IssuerList::Shoppers;
    for version in [0, 2, u64::MAX] {
        let refused = issuers.store_issuers(list, &document(version, "other")).await;
        assert_eq!(answered(refused), REFUSED, "{version}");
    }
    assert_eq!(answered(issuers.issuers(list, 0).await), None);
    stored(&issuers, list, &document(1, "one")).await;
    for version in [0, 1, 3, u64::MAX] {
        let refused = issuers.store_issuers(list, &document(version, "other")).await;
        assert_eq!(answered(refused), REFUSED, "{version}");
    }
    assert_eq!(answered(issuers.issuers(list, 0).await), Some(document(1, "one")));
}

pub async fn of_8_documents_at_once_one_is_stored(database: &impl Database) {
    let issuers = database.issuers();
    for version in 1..=2 {
        let documents: Vec<_> = (0..8)
            .map(|n| document(version, &format!("{version} of {n}")))
            .collect();
        let outcomes = race(8, |n| issuers.store_issuers(IssuerList::Shoppers, &documents[n])).await;
        let done = winners(&outcomes, 1, &());
        let found = answered(issuers.issuers(IssuerList::Shoppers, 0).await);
        assert_eq!(found.as_ref(), Some(&documents[done[0]]));
    }
}

pub async fn the_largest_document_is_stored(database: &impl Database) {
    let largest = document(1, &"x".repeat(110_000));
    stored(&database.issuers(), IssuerList::Operators, &largest).await;
}
