//! Tests a database that is slow, unreachable or restarted: every wait ends, and unwritten events can be written later.

use std::time::Duration;

use contracts::ledger::{Ledger as _, life};
use ledger::{Address, Database, Limits, PostgresLedger, SignIn};
use ports::ledger::{LedgerError, ProjectOrders, Projected};
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::server::{Ledger, Postgres, WRITER};

/// Limits that are short enough for a test and long enough for a busy machine.
const SHORT: Limits = Limits {
    connect_ms: 5_000,
    wait_ms: 300,
    statement_ms: 300,
    connections: 1,
};

/// A database at `url` whose trusted roots have signed no certificate.
fn database(url: &str) -> Database {
    let address: Address = url.parse().unwrap();
    let roots = Authority::new().pem().parse().unwrap();
    Database::new(address, roots, SignIn::nothing())
}

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
    // The server may or may not have completed the lost statement. A repeat is harmless in both cases.
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
    // The operating system completes TCP connections for a listener that never accepts.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgresql://postgres@{}/ledger", silent.local_addr().unwrap());
    let limits = Limits {
        connect_ms: 300,
        ..SHORT
    };
    let ledger = PostgresLedger::with_limits(database(&url), limits);
    unconnected(&ledger, "no connection in time").await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgresql://postgres@{}/ledger", listener.local_addr().unwrap());
    drop(listener);
    let answers = PostgresLedger::new(database(&url)).project(&life("ada")).await;
    for answer in answers {
        assert!(matches!(answer, Err(LedgerError::NoConnection(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_process_without_a_batch_keeps_nobody_out() {
    let ledger = Ledger::with_limits(SHORT).await;
    let life = life("ada");
    let other = ledger.server.connect().await;
    // A refused connection returns an error immediately.
    let connection_limit = |limit: i32| format!("ALTER ROLE {WRITER} CONNECTION LIMIT {limit}");
    other.batch_execute(&connection_limit(1)).await.unwrap();
    let one = PostgresLedger::with_limits(ledger.server.database(WRITER), SHORT);
    let another = PostgresLedger::with_limits(ledger.server.database(WRITER), SHORT);
    for (n, version) in life.chunks(1).enumerate() {
        let turn = if n % 2 == 0 { &one } else { &another };
        // The server needs some time to detect that the last connection has closed.
        let let_in = async {
            loop {
                let answers = turn.project(version).await;
                if !matches!(answers[..], [Err(LedgerError::NoConnection(_))]) {
                    return answers;
                }
            }
        };
        let answers = tokio::time::timeout(Duration::from_secs(10), let_in)
            .await
            .unwrap();
        assert_eq!(answers, [Ok(Projected::Latest)]);
    }
    other.batch_execute(&connection_limit(0)).await.unwrap();
    let answers = one.project(&life[..1]).await;
    assert!(
        matches!(answers[..], [Err(LedgerError::NoConnection(_))]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_database_without_tables_is_not_the_event_s_fault() {
    let server = Postgres::start();
    let ledger = PostgresLedger::new(server.database("postgres"));
    unavailable(&ledger, "SQLSTATE 42P01").await;
    server.migrate().await;
    assert_eq!(ledger.project(&life("ada")).await, vec![Ok(Projected::Latest); 5]);
}

/// A batch uses nothing that RDS Proxy would pin: no named statement, no setting, no lock.
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
