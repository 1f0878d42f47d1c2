//! Migrations are applied once, by whoever comes first.

use ledger::{MigrationError, migrate};

use crate::server::Postgres;

#[tokio::test]
async fn migrations_are_applied_once() {
    let server = Postgres::start();
    assert_eq!(migrate(&server.url()).await.unwrap(), ["V1__ledger"]);
    assert_eq!(migrate(&server.url()).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn several_at_once_apply_each_migration_once() {
    let server = Postgres::start();
    let url = server.url();
    let (a, b, c) = tokio::join!(migrate(&url), migrate(&url), migrate(&url));
    let applied: Vec<String> = [a, b, c].into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(applied, ["V1__ledger"]);
    let sessions = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    let client = server.connect().await;
    assert!(client.query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) <= 3);
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_told_apart() {
    assert!(matches!(
        migrate("postgresql://u@h:port").await,
        Err(MigrationError::Url(_))
    ));
}
