//! Tests that migrations are applied once when several processes start them, and give the projection its
//! rights.

use std::time::Duration;

use ledger::{Migrated, MigrationError, Role, migrate};
use tokio_postgres::error::SqlState;

use crate::server::{LIMIT, Postgres, WRITER};

fn writer() -> Role {
    WRITER.parse().unwrap()
}

fn migrated(applied: &[&str]) -> Migrated {
    Migrated {
        applied: applied.iter().map(ToString::to_string).collect(),
        version: 3,
    }
}

#[tokio::test]
async fn migrations_are_applied_once() {
    let server = Postgres::start();
    let database = server.database("postgres");
    for expected in [
        migrated(&["V1__ledger", "V2__correlation", "V3__another_card"]),
        migrated(&[]),
    ] {
        assert_eq!(migrate(&database, &writer(), LIMIT).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn several_at_once_apply_each_migration_once() {
    let server = Postgres::start();
    let database = server.database("postgres");
    let role = writer();
    let one = || migrate(&database, &role, LIMIT);
    let (a, b, c) = tokio::join!(one(), one(), one());
    let applied: Vec<String> = [a, b, c]
        .into_iter()
        .flat_map(|migrated| migrated.unwrap().applied)
        .collect();
    assert_eq!(applied, ["V1__ledger", "V2__correlation", "V3__another_card"]);
    let sessions = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    let client = server.connect().await;
    assert!(client.query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) <= 3);
}

#[tokio::test]
async fn a_migration_that_waits_too_long_for_another_one_is_given_up() {
    let server = Postgres::start();
    let other = server.connect().await;
    other
        .batch_execute("SELECT pg_advisory_lock(727465)")
        .await
        .unwrap();
    let limit = Duration::from_millis(400);
    let migrated = migrate(&server.database("postgres"), &writer(), limit).await;
    assert!(matches!(migrated, Err(MigrationError::TimedOut)), "{migrated:?}");
    other
        .batch_execute("SELECT pg_advisory_unlock(727465)")
        .await
        .unwrap();
    server.migrate().await;
}

#[tokio::test]
async fn a_database_that_is_ahead_of_this_release_is_refused() {
    let server = Postgres::start();
    server.migrate().await;
    let client = server.connect().await;
    let later = "INSERT INTO refinery_schema_history VALUES (999, 'later', '2027-01-15T08:00:00Z', '1')";
    client.batch_execute(later).await.unwrap();
    let error = migrate(&server.database("postgres"), &writer(), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, MigrationError::Migration(_)), "{error}");
    assert!(error.to_string().contains("V999__later"), "{error}");
}

#[tokio::test]
async fn the_projection_s_role_may_do_what_the_projection_does_and_no_more() {
    let server = Postgres::start();
    server.migrate().await;
    let (client, _running) = server.database(WRITER).connect().await.unwrap();
    for refused in [
        "DELETE FROM ledger_orders",
        "UPDATE ledger_orders SET amount_minor = 1",
        "UPDATE ledger_order_versions SET version = 1",
        "UPDATE ledger_entries SET amount_minor = 1",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
        "DROP TABLE ledger_entries",
        "SELECT * FROM refinery_schema_history",
        "CREATE TABLE public.own (n int)",
        "CREATE ROLE other",
    ] {
        let error = client.batch_execute(refused).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused}");
    }
}

#[tokio::test]
async fn the_projection_s_role_signs_in_by_iam_where_the_server_knows_it() {
    let server = Postgres::start();
    let client = server.connect().await;
    let member = "SELECT pg_has_role('project_ledger', 'rds_iam', 'member')";
    server.migrate().await;
    client.batch_execute("CREATE ROLE rds_iam").await.unwrap();
    for _ in 0..2 {
        server.migrate().await;
        assert!(client.query_one(member, &[]).await.unwrap().get::<_, bool>(0));
    }
}
