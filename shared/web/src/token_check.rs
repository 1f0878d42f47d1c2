//! Caches token verifiers in the process.
//!
//! **Problem.** The keys of issuers change while a process runs. A check must not call another service for each
//! request, must accept a new key and refuse a removed key soon, and must continue while the database is unavailable.
//!
//! **Model.** [`CachedIssuers`] keeps the issuers' document that was read last:
//!
//! | age of the document | keys that check a token |
//! |---|---|
//! | younger than [`LIFE_MS`], less up to a fifth at random | the cached keys, without a read |
//! | older | the keys of a new read; if the database does not answer, the cached keys until they are [`STALE_MS`] old |
//! | older than [`STALE_MS`], or no document | the keys of a new read; if the database does not answer, none: 503 |
//!
//! A token that names an unknown key of a known issuer also causes a read, since the key may be new. At most one read
//! runs at a time in a process. While a document is cached, no read begins within [`PAUSE_MS`] of the end of the last
//! read. So tokens with invented `kid`s cause one read in five seconds for each process, whatever their number.

use std::pin::Pin;
use std::sync::Arc;

use domain::time::Timestamp;
use ports::StoreError;
use ports::issuers::{ISSUER_COPIES, IssuerList, IssuersDocument, ReadIssuers};
use ports::renewed::{Limits, Renewed};
use ports::retry::{IN_REQUEST, retry};
use ports::runtime::Runtime;
use tokens::{Audience, Identity, Published, TokenError, Verifier};

/// How long a document is used before it is read again, in milliseconds. Each process subtracts up to a fifth at
/// random, so that processes that started together do not read together. While the database answers, a removed key is
/// refused after this time at the latest.
pub const LIFE_MS: i64 = 60_000;

/// How long a document is used while the database does not answer, in milliseconds.
pub const STALE_MS: i64 = 60 * 60_000;

/// The shortest time between the end of a read and the next read while a document is cached, in milliseconds.
pub const PAUSE_MS: i64 = 5_000;

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unidentified {
    /// The token is invalid.
    Refused(TokenError),
    /// The issuers' document cannot be read, so the token cannot be checked.
    Unknown(StoreError),
}

/// The boxed future of a check.
type Checked<'a> = Pin<Box<dyn Future<Output = Result<Identity, Unidentified>> + Send + 'a>>;

trait Check: Send + Sync {
    fn check<'a>(&'a self, token: &'a str, now: Timestamp) -> Checked<'a>;
}

/// Checks the bearer tokens of a function's requests. Clones share the cache.
#[derive(Clone)]
pub struct Tokens(Arc<dyn Check>);

impl Tokens {
    /// Checks tokens of shoppers. The first request reads the document of issuers from `issuers`.
    pub fn of_shoppers(issuers: impl ReadIssuers + 'static, runtime: impl Runtime) -> Self {
        Self::cached(Audience::Shopper, IssuerList::Shoppers, issuers, runtime)
    }

    /// Checks tokens of operators. The first request reads the document of issuers from `issuers`.
    pub fn of_operators(issuers: impl ReadIssuers + 'static, runtime: impl Runtime) -> Self {
        Self::cached(Audience::Operator, IssuerList::Operators, issuers, runtime)
    }

    fn cached(
        audience: Audience,
        list: IssuerList,
        issuers: impl ReadIssuers + 'static,
        runtime: impl Runtime,
    ) -> Self {
        let copy = runtime.random() % u64::from(ISSUER_COPIES);
        Self(Arc::new(CachedIssuers {
            audience,
            list,
            copy: u8::try_from(copy).unwrap_or(0),
            issuers,
            runtime,
            keys: Renewed::new(Limits {
                life_ms: LIFE_MS,
                stale_ms: STALE_MS,
                pause_ms: PAUSE_MS,
                pause_without_ms: 0,
            }),
        }))
    }

    pub(crate) async fn check(&self, token: &str, now: Timestamp) -> Result<Identity, Unidentified> {
        self.0.check(token, now).await
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// Tokens that are checked with fixed keys, without a database.
impl From<Verifier> for Tokens {
    fn from(verifier: Verifier) -> Self {
        Self(Arc::new(verifier))
    }
}

impl Check for Verifier {
    fn check<'a>(&'a self, token: &'a str, now: Timestamp) -> Checked<'a> {
        let verified = self.verify(token, now.as_seconds());
        Box::pin(std::future::ready(verified.map_err(Unidentified::Refused)))
    }
}

/// The cache; the module's table describes it.
struct CachedIssuers<I, R> {
    audience: Audience,
    list: IssuerList,
    /// The copy of the document that this process reads.
    copy: u8,
    issuers: I,
    runtime: R,
    keys: Renewed<Arc<Verifier>, StoreError>,
}

impl<I: ReadIssuers, R: Runtime> CachedIssuers<I, R> {
    /// Reads the document, and makes the verifier of its keys.
    async fn read(&self) -> Result<Arc<Verifier>, StoreError> {
        let list = self.list.as_str();
        let read = retry(&self.runtime, IN_REQUEST, || {
            self.issuers.issuers(self.list, self.copy)
        })
        .await;
        let verifier = read.and_then(|document| self.verifier(document));
        verifier.map(Arc::new).inspect_err(|error| match self.keys.age_ms(self.runtime.now()) {
            Some(age_ms) => {
                tracing::warn!(list, %error, age_ms, "the issuers' keys cannot be read; the keys of this age stay in use")
            }
            None => {
                tracing::error!(list, %error, "the issuers' keys cannot be read, and no request can be authenticated")
            }
        })
    }

    /// The verifier of `document`. The error for an unusable document is temporary, since the document may be replaced
    /// within a minute.
    fn verifier(&self, document: Option<IssuersDocument>) -> Result<Verifier, StoreError> {
        let list = self.list.as_str();
        let Some(document) = document else {
            tracing::error!(
                list,
                "there is no document of issuers; check `fetch-keys`, which writes it"
            );
            return Err(StoreError::Busy);
        };
        let published = Published::parse(&document.text);
        let verifier = published.and_then(|published| published.verifier(self.audience));
        verifier.map_err(|error| {
            let version = document.version;
            tracing::error!(list, version, %error, "the document of issuers is unusable; check `fetch-keys`");
            StoreError::Busy
        })
    }
}

impl<I: ReadIssuers + 'static, R: Runtime> Check for CachedIssuers<I, R> {
    fn check<'a>(&'a self, token: &'a str, now: Timestamp) -> Checked<'a> {
        Box::pin(async move {
            let runtime = &self.runtime;
            let keys = self.keys.get(runtime, || self.read()).await;
            let keys = keys.map_err(Unidentified::Unknown)?;
            let verify = |keys: &Verifier| keys.verify(token, now.as_seconds());
            let verified = match verify(&keys) {
                Err(TokenError::UnknownKey) => {
                    let is_former = |cached: &Arc<Verifier>| Arc::ptr_eq(cached, &keys);
                    let newer = self.keys.newer(runtime, is_former, || self.read()).await;
                    let newer = newer.map_err(Unidentified::Unknown)?;
                    newer.map_or(Err(TokenError::UnknownKey), |newer| verify(&newer))
                }
                verified => verified,
            };
            verified.map_err(Unidentified::Refused)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memory::{Fault, MemoryStore, Op, TestRuntime};
    use ports::issuers::StoreIssuers as _;
    use ports::runtime::Clock as _;
    use tokens::{Issuers, KeySet, SigningKey};

    struct Scene {
        store: MemoryStore,
        runtime: TestRuntime,
        tokens: Tokens,
    }

    impl Scene {
        fn new() -> Self {
            let (store, runtime) = (MemoryStore::new(), TestRuntime::new(7));
            let tokens = Tokens::of_shoppers(store.clone(), runtime.clone());
            Self {
                store,
                runtime,
                tokens,
            }
        }

        /// Publishes these keys of the project's own issuer.
        async fn publish(&self, version: u64, keys: &[&SigningKey]) {
            let issuers = Issuers::own(Audience::Shopper, KeySet::of(keys).unwrap());
            let merged = Published::merge(issuers, None, None, |_| None, 0);
            self.put(version, merged.document.to_json()).await;
        }

        async fn put(&self, version: u64, text: String) {
            let document = IssuersDocument { version, text };
            let stored = self.store.store_issuers(IssuerList::Shoppers, &document).await;
            assert!(stored.unwrap().is_done());
        }

        fn reads(&self) -> u64 {
            self.store.calls(Op::Issuers)
        }

        fn token(&self, key: &SigningKey) -> String {
            let now = self.runtime.now().as_seconds();
            key.sign(Audience::Shopper, "ada", now, now + 600).unwrap()
        }

        /// Checks a token one millisecond after the previous check, so that any earlier read has ended.
        async fn check(&self, key: &SigningKey) -> Result<(), Unidentified> {
            self.runtime.advance(1);
            let checked = self.tokens.check(&self.token(key), self.runtime.now()).await;
            checked.map(|_| ())
        }
    }

    fn key(kid: &str) -> SigningKey {
        SigningKey::generate(kid).unwrap()
    }

    const UNKNOWN_KEY: Result<(), Unidentified> = Err(Unidentified::Refused(TokenError::UnknownKey));

    #[tokio::test]
    async fn the_document_is_read_with_the_first_request_and_each_minute() {
        let (scene, a) = (Scene::new(), key("a"));
        scene.publish(1, &[&a]).await;
        assert_eq!(scene.reads(), 0);
        for _ in 0..3 {
            assert_eq!(scene.check(&a).await, Ok(()));
        }
        assert_eq!(scene.reads(), 1);
        scene.runtime.advance(LIFE_MS - LIFE_MS / 5 - 10);
        assert_eq!(scene.check(&a).await, Ok(()));
        assert_eq!(scene.reads(), 1);
        scene.runtime.advance(LIFE_MS / 5 + 10);
        assert_eq!(scene.check(&a).await, Ok(()));
        assert_eq!(scene.reads(), 2);
    }

    #[tokio::test]
    async fn a_removed_key_is_refused_after_a_minute() {
        let (scene, a, b) = (Scene::new(), key("a"), key("b"));
        scene.publish(1, &[&a, &b]).await;
        assert_eq!(scene.check(&a).await, Ok(()));
        scene.publish(2, &[&b]).await;
        scene.runtime.advance(LIFE_MS);
        assert_eq!(scene.check(&a).await, UNKNOWN_KEY);
        assert_eq!(scene.check(&b).await, Ok(()));
    }

    #[tokio::test]
    async fn an_unknown_key_causes_one_read_for_all_and_none_for_five_seconds() {
        let (scene, a, b) = (Scene::new(), key("a"), key("b"));
        scene.publish(1, &[&a]).await;
        assert_eq!(scene.check(&a).await, Ok(()));
        scene.publish(2, &[&a, &b]).await;
        assert_eq!(scene.check(&b).await, UNKNOWN_KEY, "the last read just ended");
        scene.runtime.advance(PAUSE_MS);
        let of_b = scene.token(&b);
        let both = futures_of(&scene, &[&of_b, &of_b, &of_b]).await;
        assert_eq!(both, [Ok(()), Ok(()), Ok(())]);
        assert_eq!(scene.reads(), 2);
        let invented: Vec<String> = (0..50)
            .map(|n| scene.token(&key(&format!("invented-{n}"))))
            .collect();
        scene.runtime.advance(PAUSE_MS);
        let invented: Vec<&str> = invented.iter().map(String::as_str).collect();
        assert_eq!(
            futures_of(&scene, &invented.iter().collect::<Vec<_>>()).await,
            vec![UNKNOWN_KEY; 50]
        );
        assert_eq!(scene.reads(), 3);
    }

    /// Checks these tokens concurrently.
    async fn futures_of(scene: &Scene, tokens: &[impl AsRef<str>]) -> Vec<Result<(), Unidentified>> {
        let now = scene.runtime.now();
        let checks = tokens.iter().map(|token| scene.tokens.check(token.as_ref(), now));
        let checked = futures_util::future::join_all(checks).await;
        checked.into_iter().map(|one| one.map(|_| ())).collect()
    }

    #[tokio::test]
    async fn a_token_that_names_another_issuer_or_no_key_causes_no_read() {
        let (scene, a) = (Scene::new(), key("a"));
        scene.publish(1, &[&a]).await;
        assert_eq!(scene.check(&a).await, Ok(()));
        scene.runtime.advance(PAUSE_MS);
        let now = scene.runtime.now().as_seconds();
        let stranger =
            serde_json::json!({"iss": "https://other.example", "sub": "eve", "iat": now, "exp": now + 60});
        for token in ["", "a.b.c", &key("b").sign_claims(&stranger).unwrap()] {
            assert!(scene.tokens.check(token, scene.runtime.now()).await.is_err());
        }
        assert_eq!(scene.reads(), 1);
    }

    #[tokio::test]
    async fn while_the_database_is_away_the_former_keys_hold_for_an_hour() {
        let (scene, a) = (Scene::new(), key("a"));
        scene.publish(1, &[&a]).await;
        assert_eq!(scene.check(&a).await, Ok(()));
        scene
            .store
            .set_plan(|op, _| (op == Op::Issuers).then_some(Fault::UnknownBefore));
        scene.runtime.advance(LIFE_MS);
        let before = scene.reads();
        assert_eq!(scene.check(&a).await, Ok(()));
        let tried = scene.reads();
        assert!(tried > before);
        assert_eq!(scene.check(&a).await, Ok(()));
        assert_eq!(scene.reads(), tried, "no read within the pause");
        let unknown = Err(Unidentified::Unknown(StoreError::Unknown));
        assert_eq!(scene.check(&key("b")).await, unknown, "the key may be new");
        scene.runtime.advance(STALE_MS);
        assert_eq!(scene.check(&a).await, unknown);
        scene.store.clear_plan();
        assert_eq!(scene.check(&a).await, Ok(()), "no pause without keys");
    }

    #[tokio::test]
    async fn a_document_that_is_missing_or_wrong_is_waited_for() {
        let (scene, a) = (Scene::new(), key("a"));
        let busy = Err(Unidentified::Unknown(StoreError::Busy));
        assert_eq!(scene.check(&a).await, busy);
        scene.put(1, "{}".to_owned()).await;
        assert_eq!(scene.check(&a).await, busy);
        scene.publish(2, &[&a]).await;
        assert_eq!(scene.check(&a).await, Ok(()));
        scene.put(3, "{}".to_owned()).await;
        scene.runtime.advance(LIFE_MS);
        assert_eq!(scene.check(&a).await, Ok(()), "the former keys hold");
    }
}
