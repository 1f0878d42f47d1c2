//! Tests the function `migrate-ledger` against a server.

use ledger::{Database, MigrationError, SignIn};
use memory::TestRuntime;
use migrate_ledger::{Answer, LIMITS, Migration};

use crate::authority::Authority;
use crate::server::{Postgres, WRITER};

fn migration(database: Database) -> Migration<TestRuntime> {
    Migration::new(database, WRITER.parse().unwrap(), TestRuntime::default())
}

fn answer(applied: &[&str]) -> Answer {
    Answer {
        applied: applied.iter().map(ToString::to_string).collect(),
        version: 3,
    }
}

#[tokio::test]
async fn a_repeat_finds_nothing_to_apply() {
    let server = Postgres::start();
    let migration = migration(server.database("postgres"));
    let deadline = TestRuntime::START.plus_millis(LIMITS.timeout_ms());
    for expected in [
        answer(&["V1__ledger", "V2__correlation", "V3__another_card"]),
        answer(&[]),
    ] {
        assert_eq!(migration.migrate(deadline).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_told() {
    let server = Postgres::start();
    let roots = Authority::new().pem().parse().unwrap();
    let address = server.url("postgres").parse().unwrap();
    let migration = migration(Database::new(address, roots, SignIn::nothing()));
    let deadline = TestRuntime::START.plus_millis(LIMITS.timeout_ms());
    let error = migration.migrate(deadline).await.unwrap_err();
    assert!(matches!(error, MigrationError::Connect(_)), "{error}");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}
