//! Tests runs of the function against issuers that answer, hang or send faulty answers.
#![cfg(test)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use domain::time::Timestamp;
use fetch_keys::client::MAX_ANSWER_BYTES;
use fetch_keys::{Fetcher, Outcome, PlainHttp, RunError, Settings};
use memory::{Fault, MemoryParameters, MemoryStore, Op, TestRuntime};
use ports::invocation::{Handle as _, Invocation};
use ports::issuers::{IssuerList, ReadIssuers as _};
use ports::runtime::Clock as _;
use scripted_http::{Answer, Server};
use serde_json::{Value, json};
use tokens::{
    Audience, Issuers, KEPT_SECONDS, KeySet, NOTED_SECONDS, Published, SigningKey, TokenError, Verifier,
};
use tokio::sync::Notify;

/// Serves the keys of issuers on one server, each issuer under its own path.
struct Web {
    server: Server,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
}

impl Web {
    async fn start() -> Self {
        let answers: Arc<Mutex<BTreeMap<String, Answer>>> = Arc::default();
        let given = Arc::clone(&answers);
        let server = Server::start(move |request| {
            let answer = given.lock().unwrap().get(request.path()).cloned();
            answer.unwrap_or_else(|| Answer::text(404, ""))
        })
        .await;
        Self { server, answers }
    }

    fn set(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    fn publish(&self, path: &str, keys: &[&SigningKey]) {
        self.set(path, Answer::text(200, jwks(keys).to_string()));
    }

    fn asked(&self) -> usize {
        self.server.requests().len()
    }
}

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(kid).unwrap()
}

fn jwks(keys: &[&SigningKey]) -> Value {
    serde_json::from_str(&KeySet::of(keys).unwrap().to_json()).unwrap()
}

struct Scene {
    web: Web,
    parameters: MemoryParameters,
    store: MemoryStore,
    runtime: TestRuntime,
    own: SigningKey,
    fetcher: Fetcher<MemoryParameters, MemoryStore, TestRuntime>,
}

const SHOPPERS: &str = "/stampede/shopper-keys";
const OPERATORS: &str = "/stampede/operator-keys";
const DEPLOYERS: &str = "/stampede/deployer-keys";

impl Scene {
    /// Lists the project's own issuer for shoppers and operators, and no deployer.
    async fn new() -> Self {
        Self::with(PlainHttp::ToLoopback).await
    }

    async fn with(plain_http: PlainHttp) -> Self {
        let (parameters, store, runtime) = (
            MemoryParameters::default(),
            MemoryStore::new(),
            TestRuntime::new(3),
        );
        runtime.set(Timestamp::from_millis(1_800_000_000_000));
        let settings = Settings {
            stage: "dev".to_owned(),
            shoppers: SHOPPERS.to_owned(),
            operators: OPERATORS.to_owned(),
            deployers: DEPLOYERS.to_owned(),
            plain_http,
        };
        let scene = Self {
            web: Web::start().await,
            fetcher: Fetcher::new(parameters.clone(), store.clone(), runtime.clone(), settings),
            parameters,
            store,
            runtime,
            own: key("own"),
        };
        scene.configure(SHOPPERS, &[]);
        scene.configure(OPERATORS, &[]);
        scene.parameters.put(DEPLOYERS, r#"{"keys":[]}"#);
        scene
    }

    /// Stores a list with the project's own issuer and the entries `others`.
    fn configure(&self, parameter: &str, others: &[Value]) {
        let audience = if parameter == SHOPPERS {
            Audience::Shopper
        } else {
            Audience::Operator
        };
        let own = Issuers::own(audience, KeySet::of(&[&self.own]).unwrap());
        let mut document: Value = serde_json::from_str(&own.to_json()).unwrap();
        document["issuers"]
            .as_array_mut()
            .unwrap()
            .extend(others.iter().cloned());
        self.parameters.put(parameter, document.to_string());
    }

    /// Makes the entry of an issuer whose name and path are `name`.
    fn outside(&self, name: &str) -> Value {
        json!({
            "issuer": name, "audiences": ["drops"], "algorithms": ["EdDSA"], "max_life_seconds": 3_600,
            "jwks_uri": format!("{}/{name}", self.web.server.url),
        })
    }

    /// Stores the shoppers' list with the outside issuers `names`.
    fn list(&self, names: &[&str]) {
        let entries: Vec<Value> = names.iter().map(|name| self.outside(name)).collect();
        self.configure(SHOPPERS, &entries);
    }

    async fn run(&self) -> Outcome {
        self.fetcher.run().await.unwrap()
    }

    async fn text(&self, list: IssuerList) -> Option<(u64, String)> {
        let document = self.store.issuers(list, 0).await.unwrap()?;
        Some((document.version, document.text))
    }

    async fn verifier(&self) -> Verifier {
        let (_, text) = self.text(IssuerList::Shoppers).await.unwrap();
        Published::parse(&text)
            .unwrap()
            .verifier(Audience::Shopper)
            .unwrap()
    }

    /// Whether the published document accepts a token of this issuer and key.
    async fn takes(&self, issuer: &str, key: &SigningKey) -> Result<(), TokenError> {
        let now = self.runtime.now().as_seconds();
        let claims = json!({"iss": issuer, "aud": "drops", "sub": "ada", "iat": now, "exp": now + 600});
        let token = key.sign_claims(&claims).unwrap();
        self.verifier().await.verify(&token, now).map(|_| ())
    }

    async fn takes_own(&self) -> bool {
        let now = self.runtime.now().as_seconds();
        let token = self.own.sign(Audience::Shopper, "ada", now, now + 60).unwrap();
        self.verifier().await.verify(&token, now).is_ok()
    }
}

#[tokio::test]
async fn without_outside_issuers_the_configuration_is_published_and_nobody_is_asked() {
    let scene = Scene::new().await;
    let deployer = key("deployer");
    scene.parameters.put(DEPLOYERS, jwks(&[&deployer]).to_string());
    assert_eq!(
        scene.run().await,
        Outcome {
            written: 2,
            ..Outcome::default()
        }
    );
    assert!(scene.takes_own().await);
    let now = scene.runtime.now().as_seconds();
    let smoke = deployer
        .sign(Audience::Shopper, "smoke-1", now, now + 60)
        .unwrap();
    assert!(scene.verifier().await.verify(&smoke, now).is_ok());
    assert_eq!(
        scene.run().await,
        Outcome::default(),
        "the second run has nothing to write"
    );
    assert_eq!(scene.text(IssuerList::Operators).await.unwrap().0, 1);
}

#[tokio::test]
async fn an_issuers_key_comes_and_goes() {
    let scene = Scene::new().await;
    let (a, b) = (key("a"), key("b"));
    scene.list(&["login"]);
    let unknown = Err(TokenError::UnknownKey);
    for (version, keys, of_a, of_b) in [
        (1, vec![&a], Ok(()), unknown),
        (2, vec![&a, &b], Ok(()), Ok(())),
        (3, vec![&b], unknown, Ok(())),
    ] {
        scene.web.publish("/login", &keys);
        let outcome = scene.run().await;
        assert_eq!(outcome.asked, 1);
        assert_eq!(outcome.unanswered, 0);
        assert_eq!(scene.takes("login", &a).await, of_a);
        assert_eq!(scene.takes("login", &b).await, of_b);
        assert_eq!(scene.text(IssuerList::Shoppers).await.unwrap().0, version);
        assert_eq!(scene.run().await.written, 0, "the same answer writes nothing");
    }
    assert_eq!(
        scene.text(IssuerList::Operators).await.unwrap().0,
        1,
        "the other list is as it was"
    );
    scene.runtime.advance(NOTED_SECONDS * 1_000);
    assert_eq!(
        scene.run().await.written,
        1,
        "the moment of the last answer is noted once an hour"
    );
    scene.list(&[]);
    scene.run().await;
    assert_eq!(scene.takes("login", &b).await, Err(TokenError::UnknownIssuer));
}

#[tokio::test]
async fn an_issuer_that_hangs_or_lies_keeps_its_keys_and_changes_nothing_for_others() {
    let scene = Scene::new().await;
    let (bad, good, new) = (key("bad"), key("good"), key("new"));
    let private: Value = serde_json::from_str(&key("private").to_jwk().unwrap()).unwrap();
    let secret = private["d"].as_str().unwrap().to_owned();
    let padding = " ".repeat(MAX_ANSWER_BYTES);
    let is = |status: u16, body: &str| Answer::text(status, body);
    let keys_of_new = jwks(&[&new]).to_string();
    let rsa = r#"{"keys":[{"kty":"RSA","kid":"new","n":"AQAB","e":"AQAB"}]}"#;
    let many: Vec<SigningKey> = (0..17).map(|n| key(&format!("k{n}"))).collect();
    let halves = [&many[..16], &many[16..]].map(|half| jwks(&half.iter().collect::<Vec<_>>()));
    let all = [&halves[0]["keys"], &halves[1]["keys"]]
        .map(|keys| keys.as_array().unwrap().clone())
        .concat();
    scene.web.publish("/elsewhere", &[&new]);
    let lies = [
        ("hangs", Answer::Silence),
        (
            "stalls",
            Answer::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()),
        ),
        ("closes", Answer::Close),
        ("never ends", Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())),
        ("500", is(500, &keys_of_new)),
        ("404", is(404, &keys_of_new)),
        ("204", is(204, "")),
        (
            "redirect",
            Answer::Body(
                302,
                vec![("location", format!("{}/elsewhere", scene.web.server.url))],
                Vec::new(),
            ),
        ),
        ("too long", is(200, &format!("{keys_of_new}{padding}"))),
        ("rubbish", is(200, "<html>Sign in</html>")),
        ("no set", is(200, "[]")),
        ("empty", is(200, r#"{"keys":[]}"#)),
        ("another algorithm", is(200, rsa)),
        (
            "a private key",
            is(200, &json!({ "keys": [private] }).to_string()),
        ),
        ("too many keys", is(200, &json!({ "keys": all }).to_string())),
    ];
    // Each fault has its own issuer, so that they run concurrently and a hanging issuer delays the test only once.
    let names: Vec<String> = (0..lies.len()).map(|n| format!("issuer{n}")).collect();
    for part in names.chunks(2) {
        let mut listed: Vec<&str> = part.iter().map(String::as_str).collect();
        listed.push("honest");
        scene.list(&listed);
        for name in part {
            scene.web.publish(&format!("/{name}"), &[&bad]);
        }
        scene.web.publish("/honest", &[&good]);
        assert_eq!(scene.run().await.unanswered, 0);
        for (name, (_, lie)) in part
            .iter()
            .zip(&lies[names.iter().position(|name| *name == part[0]).unwrap()..])
        {
            scene.web.set(&format!("/{name}"), lie.clone());
        }
        scene.web.publish("/honest", &[&good, &new]);
        let outcome = scene.run().await;
        assert_eq!(outcome.asked, listed.len() as u64);
        assert_eq!(outcome.unanswered, part.len() as u64);
        for (name, (what, _)) in part
            .iter()
            .zip(&lies[names.iter().position(|name| *name == part[0]).unwrap()..])
        {
            assert_eq!(scene.takes(name, &bad).await, Ok(()), "{what}");
            assert_eq!(
                scene.takes(name, &new).await,
                Err(TokenError::UnknownKey),
                "{what}"
            );
        }
        assert_eq!(scene.takes("honest", &new).await, Ok(()));
        assert!(scene.takes_own().await);
        let (_, text) = scene.text(IssuerList::Shoppers).await.unwrap();
        assert!(!text.contains(&secret) && !text.contains("private"), "{text}");
    }
}

#[tokio::test]
async fn beside_a_usable_key_others_are_left_out() {
    let scene = Scene::new().await;
    let (good, leaked) = (key("good"), key("leaked"));
    scene.list(&["login"]);
    let mut keys = jwks(&[&good]);
    let private: Value = serde_json::from_str(&leaked.to_jwk().unwrap()).unwrap();
    keys["keys"].as_array_mut().unwrap().extend([
        private.clone(),
        json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"}),
    ]);
    scene.web.set("/login", Answer::text(200, keys.to_string()));
    assert_eq!(scene.run().await.unanswered, 0);
    assert_eq!(scene.takes("login", &good).await, Ok(()));
    // Every reader of the answer has this private key, so it must not be accepted.
    assert_eq!(scene.takes("login", &leaked).await, Err(TokenError::UnknownKey));
    let (_, text) = scene.text(IssuerList::Shoppers).await.unwrap();
    assert!(!text.contains(private["d"].as_str().unwrap()) && !text.contains("c2VjcmV0"));
}

#[tokio::test]
async fn a_silence_is_counted_and_after_a_week_its_keys_go() {
    let scene = Scene::new().await;
    let a = key("a");
    scene.list(&["login"]);
    scene.web.publish("/login", &[&a]);
    scene.run().await;
    scene.web.set("/login", Answer::Close);
    for days in 1..7 {
        scene.runtime.advance(86_400_000);
        assert_eq!(scene.run().await.silent_seconds, days * 86_400);
        assert_eq!(scene.takes("login", &a).await, Ok(()));
    }
    scene.runtime.advance(86_400_000);
    let outcome = scene.run().await;
    assert_eq!(outcome.silent_seconds, KEPT_SECONDS);
    assert_eq!(outcome.written, 1);
    assert_eq!(scene.takes("login", &a).await, Err(TokenError::UnknownKey));
    scene.web.publish("/login", &[&a]);
    assert_eq!(scene.run().await.silent_seconds, 0);
    assert_eq!(scene.takes("login", &a).await, Ok(()));
}

#[tokio::test]
async fn a_mistake_in_the_configuration_writes_nothing() {
    let scene = Scene::new().await;
    scene.web.publish("/login", &[&key("a")]);
    scene.list(&["login"]);
    scene.run().await;
    let before = [
        scene.text(IssuerList::Shoppers).await,
        scene.text(IssuerList::Operators).await,
    ];
    let with = |changes: Value| {
        let mut entry = scene.outside("login");
        for (name, value) in changes.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    };
    let role = json!({"role": {"claim": "/groups", "value": "operators"}});
    let shared = with(role);
    let cases: [(&str, &str, &dyn Fn()); 8] = [
        ("not a document", SHOPPERS, &|| {
            scene.parameters.put(SHOPPERS, "{")
        }),
        ("no parameter", OPERATORS, &|| scene.parameters.remove(OPERATORS)),
        ("not a JWK Set", DEPLOYERS, &|| {
            scene.parameters.put(DEPLOYERS, "[]")
        }),
        ("in both lists", OPERATORS, &|| {
            scene.configure(OPERATORS, std::slice::from_ref(&shared))
        }),
        ("an operator without a role", OPERATORS, &|| {
            scene.configure(OPERATORS, &[with(json!({"audiences": ["back-office"]}))]);
        }),
        ("keys and an address", SHOPPERS, &|| {
            scene.configure(SHOPPERS, &[with(json!({"keys": []}))])
        }),
        ("plain http", SHOPPERS, &|| {
            scene.configure(
                SHOPPERS,
                &[with(json!({"jwks_uri": "http://login.example/keys"}))],
            );
        }),
        ("the deployer's kid is our own", DEPLOYERS, &|| {
            scene.parameters.put(DEPLOYERS, jwks(&[&scene.own]).to_string());
        }),
    ];
    for (what, parameter, spoil) in cases {
        scene.configure(OPERATORS, &[]);
        scene.list(&["login"]);
        scene.parameters.put(DEPLOYERS, r#"{"keys":[]}"#);
        spoil();
        let error = scene.fetcher.run().await.expect_err(what);
        let named = matches!(&error, RunError::Store(..)) || error.to_string().contains("/stampede/");
        assert!(named, "{what}, {parameter}: {error}");
        let after = [
            scene.text(IssuerList::Shoppers).await,
            scene.text(IssuerList::Operators).await,
        ];
        assert_eq!(after, before, "{what}");
    }
    scene.parameters.put(DEPLOYERS, r#"{"keys":[]}"#);
    scene.parameters.set_silent(true);
    assert!(matches!(scene.fetcher.run().await, Err(RunError::Parameter(..))));
}

#[tokio::test]
async fn where_http_is_not_permitted_a_loopback_address_is_a_mistake_and_is_not_asked() {
    let scene = Scene::with(PlainHttp::Refused).await;
    scene.list(&["login"]);
    let error = scene.fetcher.run().await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("the parameter {SHOPPERS}: the issuer login: `jwks_uri` is not https")
    );
    assert_eq!(scene.web.asked(), 0);
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_replaced() {
    use ports::issuers::{IssuersDocument, StoreIssuers as _};
    let scene = Scene::new().await;
    let other = IssuersDocument {
        version: 1,
        text: r#"{"form":9}"#.to_owned(),
    };
    scene
        .store
        .store_issuers(IssuerList::Shoppers, &other)
        .await
        .unwrap();
    scene.run().await;
    assert_eq!(scene.text(IssuerList::Shoppers).await.unwrap().0, 2);
    assert!(scene.takes_own().await);
}

#[tokio::test]
async fn a_database_that_fails_once_is_asked_again_and_of_two_runs_at_once_one_writes() {
    let scene = Scene::new().await;
    for fault in [Fault::Busy, Fault::UnknownBefore] {
        scene.store.fail_next(Op::StoreIssuers, fault);
        scene.store.fail_next(Op::Issuers, fault);
    }
    assert_eq!(scene.run().await.written, 2);
    scene.web.publish("/login", &[&key("a")]);
    scene.list(&["login"]);
    // The write is done, but its answer is lost, so its repeat is refused.
    scene.store.fail_next(Op::StoreIssuers, Fault::UnknownAfter);
    let outcome = scene.run().await;
    assert_eq!(outcome.written, 0);
    assert_eq!(outcome.overtaken, 1);
    assert_eq!(scene.text(IssuerList::Shoppers).await.unwrap().0, 2);
    scene.list(&[]);
    let (one, other) = futures_util::future::join(scene.run(), scene.run()).await;
    assert_eq!(one.written + other.written, 1);
    assert_eq!(one.overtaken + other.overtaken, 1);
    assert_eq!(scene.text(IssuerList::Shoppers).await.unwrap().0, 3);
    scene
        .store
        .set_plan(|op, _| (op == Op::Issuers).then_some(Fault::Broken));
    assert!(matches!(scene.fetcher.run().await, Err(RunError::Store(..))));
}

#[tokio::test]
async fn a_run_with_an_older_configuration_does_not_undo_a_newer_one() {
    let scene = Scene::new().await;
    let (a, told) = (key("a"), Arc::new(Notify::new()));
    scene.list(&["slow"]);
    scene.web.set(
        "/slow",
        Answer::When(
            Arc::clone(&told),
            Box::new(Answer::text(200, jwks(&[&a]).to_string())),
        ),
    );
    let newer = async {
        while scene.web.asked() == 0 {
            tokio::task::yield_now().await;
        }
        scene.list(&["login"]);
        scene.web.publish("/login", &[&a]);
        assert_eq!(scene.run().await.written, 2);
        told.notify_one();
    };
    let (older, ()) = futures_util::future::join(scene.run(), newer).await;
    assert_eq!(older.written, 0);
    assert_eq!(older.overtaken, 2);
    assert_eq!(scene.takes("login", &a).await, Ok(()));
    assert_eq!(scene.takes("slow", &a).await, Err(TokenError::UnknownIssuer));
}

#[tokio::test]
async fn any_event_starts_a_run() {
    let scene = Scene::new().await;
    let invocation = Invocation {
        request_id: "r".to_owned(),
        deadline: Timestamp::from_millis(i64::MAX),
    };
    for event in [include_str!("../events/run.json"), "{}"] {
        let event = serde_json::from_str(event).unwrap();
        assert!(scene.fetcher.handle(event, &invocation).await.is_ok());
    }
}
