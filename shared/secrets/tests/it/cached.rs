//! Tests when a secret is fetched, and what is returned when the fetch fails.

use std::sync::{Arc, Mutex};

use memory::TestRuntime;
use ports::secrets::{ReadSecret as _, SecretError, SecretText};
use secrets::{CachedSecret, FetchSecret, LIFE_MS, PAUSE_MS, STALE_MS};
use tokio::sync::Semaphore;

/// A store that returns a scripted result, at most as often as `permits` allows.
#[derive(Clone)]
struct Store {
    state: Arc<Mutex<(Result<String, SecretError>, usize)>>,
    permits: Arc<Semaphore>,
}

impl Store {
    fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new((Ok("first".to_owned()), 0))),
            permits: Arc::new(Semaphore::new(1_000)),
        }
    }

    fn holds(&self, what: Result<&str, SecretError>) {
        self.state.lock().unwrap().0 = what.map(str::to_owned);
    }

    fn fetches(&self) -> usize {
        self.state.lock().unwrap().1
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl FetchSecret for Store {
    async fn fetch(&self) -> Result<SecretText, SecretError> {
        self.state.lock().unwrap().1 += 1;
        self.permits.acquire().await.unwrap().forget();
        let answer = self.state.lock().unwrap().0.clone();
        answer.map(SecretText::new)
    }
}

type Cache = CachedSecret<Store, TestRuntime>;

fn scene() -> (Arc<Cache>, Store, TestRuntime) {
    let (store, runtime) = (Store::new(), TestRuntime::new(7));
    (
        Arc::new(CachedSecret::new(store.clone(), runtime.clone())),
        store,
        runtime,
    )
}

async fn read(cache: &Cache) -> Result<String, SecretError> {
    cache.read().await.map(|secret| secret.expose().to_owned())
}

fn text(text: &str) -> Result<String, SecretError> {
    Ok(text.to_owned())
}

#[tokio::test]
async fn a_value_is_fetched_when_it_is_needed_and_again_when_its_life_is_over() {
    let (cache, store, runtime) = scene();
    assert_eq!(store.fetches(), 0);
    for _ in 0..3 {
        assert_eq!(read(&cache).await, text("first"));
        runtime.advance(LIFE_MS / 4 - 1);
    }
    assert_eq!(store.fetches(), 1);
    store.holds(Ok("second"));
    runtime.advance(LIFE_MS / 4 + 3);
    assert_eq!(read(&cache).await, text("second"));
    assert_eq!(store.fetches(), 2);
    // After the clock jumped back, the value does not count as younger.
    runtime.advance(-STALE_MS);
    store.holds(Ok("third"));
    assert_eq!(read(&cache).await, text("third"));
}

#[tokio::test]
async fn processes_that_started_together_do_not_fetch_together() {
    let mut lives = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (store, runtime) = (Store::new(), TestRuntime::new(seed));
        let cache = CachedSecret::new(store.clone(), runtime.clone());
        read(&cache).await.unwrap();
        let mut life = 0;
        while store.fetches() == 1 {
            runtime.advance(1_000);
            life += 1_000;
            read(&cache).await.unwrap();
        }
        assert!((LIFE_MS * 4 / 5..=LIFE_MS).contains(&life), "{life}");
        lives.insert(life);
    }
    assert!(lives.len() > 10, "{lives:?}");
}

#[tokio::test]
async fn a_refused_value_is_fetched_again_but_not_at_every_refusal() {
    let (cache, store, runtime) = scene();
    assert_eq!(read(&cache).await, text("first"));
    runtime.advance(PAUSE_MS);
    store.holds(Ok("second"));
    assert_eq!(read(&cache).await, text("first"), "nobody refused it");
    cache.refused().await;
    assert_eq!(read(&cache).await, text("second"));
    // The new value is refused as well. However often it is used, there is one fetch in each pause.
    for _ in 0..100 {
        cache.refused().await;
        assert_eq!(read(&cache).await, text("second"));
        runtime.advance(PAUSE_MS / 50);
    }
    assert_eq!(store.fetches(), 3);
}

#[tokio::test]
async fn the_former_value_is_used_while_the_store_does_not_answer_and_no_longer_than_told() {
    for error in [
        SecretError::Unavailable,
        SecretError::Missing,
        SecretError::Malformed,
    ] {
        let (cache, store, runtime) = scene();
        assert_eq!(read(&cache).await, text("first"));
        store.holds(Err(error));
        let fetched_at = ports::runtime::Clock::now(&runtime);
        runtime.advance(2 * LIFE_MS);
        for _ in 0..100 {
            assert_eq!(read(&cache).await, text("first"));
        }
        assert_eq!(
            store.fetches(),
            2,
            "payments do not wait for a store that is away"
        );
        runtime.set(fetched_at.plus_millis(STALE_MS - 1));
        assert_eq!(read(&cache).await, text("first"));
        runtime.set(fetched_at.plus_millis(STALE_MS));
        assert_eq!(read(&cache).await, Err(error));
        runtime.advance(PAUSE_MS);
        store.holds(Ok("second"));
        assert_eq!(read(&cache).await, text("second"));
    }
}

#[tokio::test]
async fn without_any_value_the_error_is_told_and_fetched_for_once_in_a_pause() {
    let (cache, store, runtime) = scene();
    store.holds(Err(SecretError::Missing));
    for _ in 0..10 {
        assert_eq!(read(&cache).await, Err(SecretError::Missing));
    }
    assert_eq!(store.fetches(), 1);
    runtime.advance(PAUSE_MS);
    store.holds(Ok("first"));
    assert_eq!(read(&cache).await, text("first"));
}

#[tokio::test]
async fn one_fetch_serves_all_who_wait_for_it() {
    let (cache, store, runtime) = scene();
    store.permits.forget_permits(1_000);
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { read(&cache).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(store.fetches(), 1);
    store.permits.add_permits(1);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), text("first"));
    }
    assert_eq!(store.fetches(), 1);
    // With a value that was not refused, only the fetching caller waits.
    runtime.advance(2 * LIFE_MS);
    store.holds(Ok("second"));
    let fetching = {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move { read(&cache).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(read(&cache).await, text("first"));
    store.permits.add_permits(1);
    assert_eq!(fetching.await.unwrap(), text("second"));
    assert_eq!(read(&cache).await, text("second"));
    assert_eq!(store.fetches(), 2);
}

#[tokio::test]
async fn a_reader_who_gives_up_does_not_keep_others_from_fetching() {
    let (cache, store, _) = scene();
    store.permits.forget_permits(1_000);
    let given_up = {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move { read(&cache).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(store.fetches(), 1);
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    store.permits.add_permits(1);
    assert_eq!(read(&cache).await, text("first"));
}

#[tokio::test]
async fn nothing_of_the_secret_is_printed() {
    let (cache, ..) = scene();
    assert_eq!(read(&cache).await, text("first"));
    assert!(!format!("{cache:?}").contains("first"));
}
