//! A database that is slow, away or comes back: every wait ends, and what was not written can be written later.

use ledger::{Limits, PostgresLedger, UrlError};
use memory::contract::ledger::{Ledger as _, life};
use ports::ledger::{LedgerError, ProjectOrders, Projected};
use tokio::net::TcpListener;

use crate::server::{Ledger, Postgres};

/// Short enough that a test does not wait long, long enough for a busy machine.
const SHORT: Limits = Limits {
    connect_ms: 5_000,
    wait_ms: 300,
    statement_ms: 300,
    connections: 1,
};

async fn unavailable(ledger: &impl ProjectOrders, why: &str) {
    let answers = ledger.project(&life("ada")).await;
    assert_eq!(answers, vec![Err(LedgerError::Unavailable(why.to_owned())); 5]);
}

async fn unconnected(ledger: &impl ProjectOrders, why: &str) {
    let answers = ledger.project(&life("ada")).await;
    assert_eq!(answers, vec![Err(LedgerError::NoConnection(why.to_owned())); 5]);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up_and_its_connection_too() {
    let ledger = Ledger::with_limits(SHORT).await;
    let mut other = ledger.server.connect().await;
    let locked = other.transaction().await.unwrap();
    locked
        .batch_execute("LOCK TABLE ledger_orders IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    unavailable(&ledger, "no answer in time").await;
    locked.rollback().await.unwrap();
    // The lost statement may or may not have been done in the end; a repeat is harmless either way.
    let answers = ledger.project(&life("ada")).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(ledger.history(&life("ada")[0].data.order_id).await.len(), 5);
}

#[tokio::test]
async fn a_batch_that_finds_all_connections_in_use_is_given_up() {
    let ledger = Ledger::with_limits(Limits {
        statement_ms: 20_000,
        ..SHORT
    })
    .await;
    let mut other = ledger.server.connect().await;
    let locked = other.transaction().await.unwrap();
    locked
        .batch_execute("LOCK TABLE ledger_orders IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let life = life("bob");
    let (first, ()) = tokio::join!(ledger.project(&life), async {
        unconnected(&ledger, "all connections are in use").await;
        locked.rollback().await.unwrap();
    });
    assert_eq!(first, vec![Ok(Projected::Latest); 5]);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    // The system accepts connections for a listener that never does.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgresql://postgres@{}/ledger", silent.local_addr().unwrap());
    let limits = Limits {
        connect_ms: 300,
        ..SHORT
    };
    let ledger = PostgresLedger::with_limits(&url, limits).unwrap();
    unconnected(&ledger, "no connection in time").await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_its_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "postgresql://postgres:s3cret@{}/ledger",
        listener.local_addr().unwrap()
    );
    drop(listener);
    let answers = PostgresLedger::new(&url).unwrap().project(&life("ada")).await;
    for answer in answers {
        let text = answer.unwrap_err().to_string();
        assert!(
            text.contains("not available") && !text.contains("s3cret"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_replaced() {
    let ledger = Ledger::with_limits(SHORT).await;
    let life = life("ada");
    assert_eq!(ledger.project(&life[..1]).await, [Ok(Projected::Latest)]);
    let other = ledger.server.connect().await;
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'project-ledger'";
    assert_eq!(other.query(end, &[]).await.unwrap().len(), 1);
    // The pool may notice before the next statement or by it.
    let first = ledger.project(&life[1..2]).await;
    let second = ledger.project(&life[1..2]).await;
    assert!(
        first == [Ok(Projected::Latest)] || second == [Ok(Projected::Latest)],
        "{first:?} {second:?}"
    );
    assert_eq!(ledger.history(&life[0].data.order_id).await.len(), 2);
}

#[tokio::test]
async fn a_database_without_tables_is_not_the_event_s_fault() {
    let server = Postgres::start();
    let ledger = PostgresLedger::new(&server.url()).unwrap();
    unavailable(&ledger, "SQLSTATE 42P01").await;
    ledger::migrate(&server.url()).await.unwrap();
    assert_eq!(ledger.project(&life("ada")).await, vec![Ok(Projected::Latest); 5]);
}

/// Nothing that a proxy would have to pin: no named statement, no setting, no lock, nothing but the batches.
#[tokio::test]
async fn a_batch_is_one_unnamed_statement_and_leaves_no_state() {
    let ledger = Ledger::start().await;
    let (first, second) = (life("ada"), life("bob"));
    for batch in [&first, &second, &first] {
        assert!(ledger.project(batch).await.iter().all(Result::is_ok));
    }
    let statements = ledger.server.statements_of("project-ledger").await;
    assert_eq!(statements, vec!["execute <unnamed>: -- One batch of events."; 3]);
}

#[test]
fn a_url_that_cannot_be_read_is_not_told() {
    let error = PostgresLedger::new("postgresql://u:s3cret@h:port/x").unwrap_err();
    assert_eq!(error, UrlError);
    assert!(!error.to_string().contains("s3cret"));
}
