//! Tests the sign-in of a connection: each connection has a fresh token, and no token is sent before the TLS handshake.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use contracts::ledger::life;
use ledger::{Address, ConnectError, Database, PostgresLedger, SignIn, SignInError};
use memory::TestRuntime;
use ports::ledger::{LedgerError, ProjectOrders as _};
use ports::secrets::{ReadSecret, SecretError, SecretText};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::authority::Authority;
use crate::server::Postgres;

/// A server that asks for the password in clear text, as RDS does for a token, and records the password.
struct Recorder {
    port: u16,
    authority: Authority,
    /// User and password of each connection.
    heard: Arc<Mutex<Vec<(String, String)>>>,
}

impl Recorder {
    async fn start() -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.server("127.0.0.1");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the server closes the connection.
                let _ = listen(stream, &acceptor, &all).await;
            }
        });
        Self {
            port,
            authority,
            heard,
        }
    }

    fn database(&self, sign_in: SignIn) -> Database {
        let address = address("project_ledger", self.port);
        Database::new(address, self.authority.pem().parse().unwrap(), sign_in)
    }

    fn heard(&self) -> Vec<(String, String)> {
        self.heard.lock().unwrap().clone()
    }
}

/// Serves one connection until it has signed in, by PostgreSQL's protocol 3.0.
async fn listen(
    mut stream: TcpStream,
    acceptor: &TlsAcceptor,
    heard: &Mutex<Vec<(String, String)>>,
) -> std::io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await?;
    assert_eq!(request, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f], "SSLRequest");
    stream.write_all(b"S").await?;
    let mut stream = acceptor.accept(stream).await?;
    let length = stream.read_u32().await?;
    let mut startup = vec![0; usize::try_from(length).unwrap() - 4];
    stream.read_exact(&mut startup).await?;
    let startup = String::from_utf8_lossy(&startup[4..]).into_owned();
    let mut texts = startup.split('\0').skip_while(|text| *text != "user");
    let user = texts.nth(1).unwrap().to_owned();
    // This is the message AuthenticationCleartextPassword.
    stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).await?;
    assert_eq!(stream.read_u8().await?, b'p', "PasswordMessage");
    let length = stream.read_u32().await?;
    let mut password = vec![0; usize::try_from(length).unwrap() - 4];
    stream.read_exact(&mut password).await?;
    let password = String::from_utf8(password).unwrap();
    heard
        .lock()
        .unwrap()
        .push((user, password.trim_end_matches('\0').to_owned()));
    // These are the messages AuthenticationOk and ReadyForQuery.
    stream
        .write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 0, b'Z', 0, 0, 0, 5, b'I'])
        .await?;
    stream.shutdown().await
}

fn address(user: &str, port: u16) -> Address {
    format!("postgresql://{user}@127.0.0.1:{port}/ledger")
        .parse()
        .unwrap()
}

fn iam(runtime: &TestRuntime) -> SignIn {
    let keys = Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        Some("session+token/=".to_owned()),
        None,
        "test",
    );
    SignIn::iam(keys, "eu-central-1".to_owned(), runtime.clone())
}

/// Parses the query parameters of a token.
fn parts(token: &str) -> BTreeMap<String, String> {
    let (_, query) = token.split_once("/?").unwrap();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[tokio::test]
async fn a_connection_shows_a_token_for_its_address_and_user() {
    let server = Recorder::start().await;
    let database = server.database(iam(&TestRuntime::default()));
    database.connect().await.unwrap();
    let [(user, token)] = &server.heard()[..] else {
        panic!("{} sign-ins", server.heard().len());
    };
    assert_eq!(user, "project_ledger");
    assert!(
        token.starts_with(&format!("127.0.0.1:{}/?", server.port)),
        "{token}"
    );
    let parts = parts(token);
    let names: Vec<&str> = parts.keys().map(String::as_str).collect();
    let expected = [
        "Action",
        "DBUser",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
    ];
    assert_eq!(names, expected);
    for (name, value) in [
        ("Action", "connect"),
        ("DBUser", "project_ledger"),
        (
            "X-Amz-Credential",
            "AKIDEXAMPLE/20270115/eu-central-1/rds-db/aws4_request",
        ),
        ("X-Amz-Date", "20270115T080000Z"),
        ("X-Amz-Expires", "900"),
        ("X-Amz-Security-Token", "session+token/="),
        ("X-Amz-SignedHeaders", "host"),
    ] {
        assert_eq!(parts[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_connection_opened_after_15_minutes_shows_a_new_token() {
    let server = Recorder::start().await;
    let runtime = TestRuntime::default();
    let ledger = PostgresLedger::new(server.database(iam(&runtime)));
    for minutes in [0, 1, 15] {
        runtime.set(TestRuntime::START.plus_millis(minutes * 60_000));
        // This server accepts the sign-in and executes nothing.
        let answers = ledger.project(&life("ada")[..1]).await;
        assert!(
            matches!(answers[..], [Err(LedgerError::Unavailable(_))]),
            "{answers:?}"
        );
    }
    let tokens: Vec<String> = server.heard().into_iter().map(|(_, token)| token).collect();
    let dates: Vec<String> = tokens
        .iter()
        .map(|token| parts(token)["X-Amz-Date"].clone())
        .collect();
    assert_eq!(
        dates,
        ["20270115T080000Z", "20270115T080100Z", "20270115T081500Z"]
    );
    let signatures: Vec<String> = tokens
        .iter()
        .map(|token| parts(token)["X-Amz-Signature"].clone())
        .collect();
    assert!(signatures[0] != signatures[1] && signatures[1] != signatures[2]);
}

#[tokio::test]
async fn no_password_is_shown_to_a_server_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let roots = Authority::new().pem().parse().unwrap();
    let database = Database::new(
        address("project_ledger", port),
        roots,
        iam(&TestRuntime::default()),
    );
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        let mut more = Vec::new();
        stream.read_to_end(&mut more).await.unwrap();
        more
    };
    let (more, connected) = tokio::join!(server, async { database.connect().await.map(drop) });
    assert!(connected.is_err());
    assert_eq!(more, b"", "nothing follows the request for TLS");
}

#[tokio::test]
async fn no_password_is_shown_to_a_server_that_is_not_trusted() {
    let server = Recorder::start().await;
    let roots = Authority::new().pem().parse().unwrap();
    let database = Database::new(
        address("project_ledger", server.port),
        roots,
        iam(&TestRuntime::default()),
    );
    assert!(database.connect().await.is_err());
    // The server accepts one connection after the other, so the refused connection has ended.
    server
        .database(iam(&TestRuntime::default()))
        .connect()
        .await
        .unwrap();
    assert_eq!(server.heard().len(), 1);
}

/// A password that changes: the second value is returned after the first value was refused. Clones share the state.
#[derive(Debug, Clone, Default)]
struct Changed(Arc<AtomicUsize>);

impl Changed {
    fn refused(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl ReadSecret for Changed {
    async fn read(&self) -> Result<SecretText, SecretError> {
        let text = if self.refused() == 0 { "before" } else { "now" };
        Ok(SecretText::new(text.to_owned()))
    }

    async fn refused(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_password_that_was_changed_is_read_again_once() {
    let server = Postgres::start();
    let client = server.connect().await;
    client
        .batch_execute("CREATE ROLE guarded LOGIN PASSWORD 'now'")
        .await
        .unwrap();
    let secret = Changed::default();
    let database = server.database_with("guarded", SignIn::secret(secret.clone()));
    for _ in 0..2 {
        database.connect().await.unwrap();
        assert_eq!(Changed::refused(&secret), 1);
    }
    // A wrong password is reported and not retried forever.
    client
        .batch_execute("ALTER ROLE guarded PASSWORD 'other'")
        .await
        .unwrap();
    let error = database.connect().await.unwrap_err().to_string();
    assert!(error.contains("password authentication failed"), "{error}");
    assert!(!error.contains("now"), "{error}");
    assert_eq!(Changed::refused(&secret), 2);
}

#[derive(Debug)]
struct Unreadable;

impl ReadSecret for Unreadable {
    async fn read(&self) -> Result<SecretText, SecretError> {
        Err(SecretError::Missing)
    }

    async fn refused(&self) {}
}

#[tokio::test]
async fn a_password_that_cannot_be_read_is_told() {
    let server = Postgres::start();
    let database = server.database_with("guarded", SignIn::secret(Unreadable));
    let error = database.connect().await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::SignIn(SignInError::Secret(SecretError::Missing))
        ),
        "{error}"
    );
}

#[test]
fn neither_keys_nor_passwords_are_printed() {
    let database = Database::new(
        address("project_ledger", 1),
        Authority::new().pem().parse().unwrap(),
        iam(&TestRuntime::default()),
    );
    let text = format!("{database:?}");
    assert!(text.contains("project_ledger"), "{text}");
    assert!(
        !text.contains("AKID") && !text.contains("wJalr") && !text.contains("token"),
        "{text}"
    );
}
