//! Tests that a connection refuses every server whose verification fails.

use contracts::ledger::life;
use ledger::{Address, ConnectError, Database, PostgresLedger, Roots, SignIn, UrlError};
use ports::ledger::{LedgerError, ProjectOrders as _};
use tokio_postgres::NoTls;

use crate::authority::Authority;
use crate::server::{Postgres, WRITER};

/// Connects to `url` with these roots, and returns the reason of the refusal.
async fn refusal(url: &str, roots: &str) -> String {
    let address: Address = url.parse().unwrap();
    let roots: Roots = roots.parse().unwrap();
    let database = Database::new(address, roots, SignIn::nothing());
    let error = database.connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    // The projection reports the same reason for every event.
    let answers = PostgresLedger::new(database).project(&life("ada")).await;
    for answer in answers {
        let Err(LedgerError::NoConnection(why)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(why, format!("no connection: {error}"));
    }
    error.to_string()
}

#[tokio::test]
async fn the_connection_is_encrypted() {
    let server = Postgres::start();
    server.migrate().await;
    let (client, _running) = server.database(WRITER).connect().await.unwrap();
    let query = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = client.query_one(query, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(row.get::<_, &str>(1), "TLSv1.3");
}

#[tokio::test]
async fn a_wrong_authority_is_refused() {
    let server = Postgres::start();
    for roots in [&*Authority::new().pem(), "rds-proxy", "rds"] {
        let why = refusal(&server.url(WRITER), roots).await;
        assert!(why.contains("invalid peer certificate"), "{why}");
    }
}

#[tokio::test]
async fn a_wrong_name_is_refused() {
    let server = Postgres::start();
    let url = server.url(WRITER).replace("127.0.0.1", "localhost");
    let why = refusal(&url, &server.roots()).await;
    assert!(
        why.contains("certificate not valid for name \"localhost\""),
        "{why}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let server = Postgres::without_tls();
    let why = refusal(&server.url("postgres"), &server.roots()).await;
    assert!(why.contains("server does not support TLS"), "{why}");
}

#[tokio::test]
async fn an_sslmode_below_verify_full_is_refused() {
    let server = Postgres::start();
    for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
        let url = format!("{}?sslmode={mode}", server.url("postgres"));
        assert_eq!(url.parse::<Address>(), Err(UrlError::Unverified), "{mode}");
    }
    let url = format!("{}?sslmode=verify-full", server.url("postgres"));
    let roots = server.roots().parse().unwrap();
    let database = Database::new(url.parse().unwrap(), roots, SignIn::nothing());
    assert!(database.connect().await.is_ok());
}

#[tokio::test]
async fn a_plain_connection_is_refused_by_the_server_itself() {
    let server = Postgres::start();
    let url = server.url("postgres");
    let Err(error) = tokio_postgres::connect(&url, NoTls).await else {
        panic!("the server let a connection in without TLS");
    };
    let answer = error.as_db_error().unwrap().message();
    assert!(answer.contains("no encryption"), "{answer}");
}
