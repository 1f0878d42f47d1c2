//! Fetches the verification keys of token issuers.
//!
//! **The problem.** API functions must verify tokens without calling an issuer, and issuers may replace their keys at
//! any time. A separate function must fetch the keys.
//!
//! **The model.** The shop's configuration in Parameter Store lists the issuers of shoppers and of operators: the
//! project's own issuer with its keys, others with the URL of their keys. Each minute a run requests all these URLs
//! concurrently. For each list it writes the [`Published`] document that functions verify with, by a conditional write,
//! if it differs from the stored one.
//!
//! | issuer | keys in the document |
//! |---|---|
//! | answers with a JWK Set that has usable keys | the new keys |
//! | does not answer in time, or not with the status 200 | the former keys, for a week ([`tokens::KEPT_SECONDS`]) |
//! | answers with other content, too much content, or no usable key | the former keys, for a week |
//!
//! The issuers are independent of each other. The metric `IssuerSilentSeconds` is the longest time without an answer;
//! an alarm fires after a day.
//!
//! **A walk through.** [`Fetcher::run`] reads the configuration, requests the keys ([`client`]), merges
//! ([`Published::merge`]) and writes. A mistake in the configuration fails the run, which then writes nothing;
//! functions continue with the stored documents.
//!
//! **What it does not do.** It follows no redirect and reads no discovery document: the shop configures the URL of the
//! keys, so no third party can change it. It verifies no token.
#![forbid(unsafe_code)]

pub mod client;

use std::collections::BTreeMap;

use domain::limits::{FunctionLimits, Trigger};
use futures_util::future::{join_all, try_join3};
use ports::invocation::{Handle, Invocation};
use ports::issuers::{IssuerList, IssuersDocument, ParameterError, ReadIssuers, ReadParameter, StoreIssuers};
use ports::retry::{IN_WORKER, retry};
use ports::runtime::{Metrics, Runtime};
use ports::{Conditional, StoreError};
use reqwest::Url;
use serde::Serialize;
use serde::de::IgnoredAny;
use startup::metrics::{COUNT, line};
use tokens::{Algorithm, Audience, Issuers, IssuersError, KeySet, KeySetError, Merged, Published};

pub use client::PlainHttp;
use client::{AddressError, AnswerError};

/// The function's limits on Lambda, and its trigger. A test compares them with the template.
pub const LIMITS: FunctionLimits = FunctionLimits::new(30, Trigger::Schedule { every_seconds: 60 });

const _: () = assert!(
    client::TOTAL_TIMEOUT.as_secs() * 2 < LIMITS.timeout_seconds as u64,
    "a run with an issuer that hangs has time to write what the others answered"
);

/// The deployment stage, the names of the configuration parameters, and which URLs are allowed.
#[derive(Debug, Clone)]
pub struct Settings {
    pub stage: String,
    /// The parameter with the shoppers' issuers.
    pub shoppers: String,
    /// The parameter with the operators' issuers.
    pub operators: String,
    /// The parameter with the deployer's keys, a JWK Set.
    pub deployers: String,
    /// Whether URLs may use `http`.
    pub plain_http: PlainHttp,
}

impl Settings {
    fn parameter(&self, list: IssuerList) -> &str {
        match list {
            IssuerList::Shoppers => &self.shoppers,
            IssuerList::Operators => &self.operators,
        }
    }
}

/// Why a run did not write all documents.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the parameter {0}: {1}")]
    Parameter(String, ParameterError),
    /// A parameter is not a document of issuers, or conflicts with the others.
    #[error("the parameter {0}: {1}")]
    Issuers(String, IssuersError),
    /// The deployer's parameter is not a JWK Set.
    #[error("the parameter {0}: {1}")]
    Deployers(String, KeySetError),
    /// An issuer's URL is not allowed.
    #[error("the parameter {0}: the issuer {1}: {2}")]
    Address(String, String, AddressError),
    /// A document cannot be read or written.
    #[error("the document of the list {0:?}: {1}")]
    Store(IssuerList, StoreError),
}

/// How many keys a run requested and did not get, and how many documents it wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The number of requested URLs.
    pub asked: u64,
    /// The number of URLs that did not answer with usable keys.
    pub unanswered: u64,
    /// The longest time since the last answer of an issuer that did not answer now, in seconds. It is exact to an hour,
    /// since the time is recorded hourly.
    pub silent_seconds: i64,
    pub written: u64,
    /// Documents that were not written because another run, or an earlier attempt of this run whose answer was lost,
    /// wrote first.
    pub overtaken: u64,
}

#[derive(Debug, Clone)]
pub struct Fetcher<P, S, R> {
    parameters: P,
    store: S,
    runtime: R,
    settings: Settings,
}

struct Configured {
    /// The issuers of each list, in the order of [`IssuerList::ALL`].
    issuers: [Issuers; 2],
    deployers: Option<KeySet>,
    addresses: Vec<Asked>,
}

/// An issuer's URL to request, and the algorithms whose keys are accepted from the issuer.
struct Asked {
    list: IssuerList,
    issuer: String,
    url: Url,
    algorithms: Vec<Algorithm>,
}

/// The answers of issuers, by list and name.
type Answers = BTreeMap<(IssuerList, String), KeySet>;

impl<P, S, R> Fetcher<P, S, R>
where
    P: ReadParameter,
    S: ReadIssuers + StoreIssuers,
    R: Runtime + Metrics,
{
    pub const fn new(parameters: P, store: S, runtime: R, settings: Settings) -> Self {
        Self {
            parameters,
            store,
            runtime,
            settings,
        }
    }

    /// Requests the keys of all issuers and writes changed documents.
    ///
    /// # Errors
    /// [`RunError`]. With [`RunError::Store`] the other document may have been written.
    pub async fn run(&self) -> Result<Outcome, RunError> {
        // The stored documents are read first. If another run with a newer configuration or newer answers writes after
        // this read, this run's write is refused.
        let of_shoppers = self.stored(IssuerList::Shoppers).await?;
        let of_operators = self.stored(IssuerList::Operators).await?;
        let configured = self.configured().await?;
        let answers = ask(&configured.addresses).await;
        let asked = configured.addresses.len() as u64;
        let mut outcome = Outcome {
            asked,
            unanswered: asked.saturating_sub(answers.len() as u64),
            ..Outcome::default()
        };
        let mut failed = None;
        let lists = IssuerList::ALL.into_iter().zip([of_shoppers, of_operators]);
        for ((list, stored), issuers) in lists.zip(configured.issuers) {
            let deployers = configured.deployers.clone();
            let merged = self.merge(list, stored.as_ref(), issuers, deployers, &answers);
            outcome.silent_seconds = outcome.silent_seconds.max(merged.silent_seconds);
            match self.publish(list, stored, merged.document).await {
                Ok(None) => {}
                Ok(Some(Conditional::Done)) => outcome.written += 1,
                Ok(Some(Conditional::Refused(()))) => outcome.overtaken += 1,
                Err(error) => failed = Some(error),
            }
        }
        self.runtime.put_metrics(line(
            "issuers asked",
            &self.settings.stage,
            self.runtime.now(),
            &[
                ("IssuersAsked", COUNT, outcome.asked.into()),
                ("IssuersUnanswered", COUNT, outcome.unanswered.into()),
                ("IssuerSilentSeconds", "Seconds", outcome.silent_seconds.into()),
                ("IssuerDocumentsWritten", COUNT, outcome.written.into()),
            ],
            &[],
        ));
        failed.map_or(Ok(outcome), Err)
    }

    /// Reads the complete configuration. Conflicts between the lists are found here, before a document is written.
    async fn configured(&self) -> Result<Configured, RunError> {
        let settings = &self.settings;
        let (shoppers, operators, deployers) = (&settings.shoppers, &settings.operators, &settings.deployers);
        let texts = [shoppers, operators, deployers].map(|name| self.parameter(name));
        let [of_shoppers, of_operators, of_deployers] = texts;
        let texts = try_join3(of_shoppers, of_operators, of_deployers).await?;
        let keys = match KeySet::parse(&texts.2) {
            Ok(keys) => Some(keys),
            // A stored parameter cannot be empty, so a set without keys means that there is no deployer.
            Err(KeySetError::Count(0)) => None,
            Err(error) => return Err(RunError::Deployers(deployers.clone(), error)),
        };
        let wrong = |name: &String, error| RunError::Issuers(name.clone(), error);
        let of_shoppers = Issuers::parse(&texts.0).map_err(|error| wrong(shoppers, error))?;
        let of_operators = Issuers::parse(&texts.1).map_err(|error| wrong(operators, error))?;
        let apart = of_shoppers.check_disjoint(&of_operators);
        apart.map_err(|error| wrong(operators, error))?;
        let mut addresses = self.addresses(IssuerList::Shoppers, &of_shoppers)?;
        addresses.extend(self.addresses(IssuerList::Operators, &of_operators)?);
        Ok(Configured {
            issuers: [of_shoppers, of_operators],
            deployers: keys,
            addresses,
        })
    }

    async fn parameter(&self, name: &str) -> Result<String, RunError> {
        let read = retry(&self.runtime, IN_WORKER, || self.parameters.parameter(name)).await;
        read.map_err(|error| RunError::Parameter(name.to_owned(), error))
    }

    fn addresses(&self, list: IssuerList, issuers: &Issuers) -> Result<Vec<Asked>, RunError> {
        let asked = issuers.addresses().map(|(issuer, uri, algorithms)| {
            let name = self.settings.parameter(list);
            let url = client::address(uri, self.settings.plain_http)
                .map_err(|error| RunError::Address(name.to_owned(), issuer.to_owned(), error))?;
            Ok(Asked {
                list,
                issuer: issuer.to_owned(),
                url,
                algorithms: algorithms.to_vec(),
            })
        });
        asked.collect()
    }

    async fn stored(&self, list: IssuerList) -> Result<Option<IssuersDocument>, RunError> {
        let read = retry(&self.runtime, IN_WORKER, || self.store.issuers(list, 0)).await;
        read.map_err(|error| RunError::Store(list, error))
    }

    fn merge(
        &self,
        list: IssuerList,
        stored: Option<&IssuersDocument>,
        issuers: Issuers,
        deployers: Option<KeySet>,
        answers: &Answers,
    ) -> Merged {
        let former = stored.and_then(|stored| {
            let parsed = Published::parse(&stored.text);
            let read = parsed.inspect_err(|error| {
                tracing::error!(list = list.as_str(), version = stored.version, %error, "the stored document of issuers cannot be read and is replaced; issuers that did not answer in this run lose their keys");
            });
            read.ok()
        });
        let answer = |issuer: &str| answers.get(&(list, issuer.to_owned())).cloned();
        let now_s = self.runtime.now().as_seconds();
        Published::merge(issuers, deployers, former.as_ref(), answer, now_s)
    }

    /// Writes `document` if it differs from the `stored` document of the list. `None` if nothing had to be written.
    async fn publish(
        &self,
        list: IssuerList,
        stored: Option<IssuersDocument>,
        document: Published,
    ) -> Result<Option<Conditional<()>>, RunError> {
        let text = document.to_json();
        if stored.as_ref().is_some_and(|stored| stored.text == text) {
            return Ok(None);
        }
        // A document that functions would refuse must not replace the stored one.
        let audience = match list {
            IssuerList::Shoppers => Audience::Shopper,
            IssuerList::Operators => Audience::Operator,
        };
        let verifier = document.verifier(audience);
        verifier.map_err(|error| RunError::Issuers(self.settings.parameter(list).to_owned(), error))?;
        let document = IssuersDocument {
            version: stored.map_or(0, |stored| stored.version).saturating_add(1),
            text,
        };
        let write = || self.store.store_issuers(list, &document);
        let written = retry(&self.runtime, IN_WORKER, write).await;
        let written = written.map_err(|error| RunError::Store(list, error))?;
        let (list, version) = (list.as_str(), document.version);
        if written.is_done() {
            tracing::info!(list, version, "the document of issuers is written");
        } else {
            tracing::info!(
                list,
                version,
                "the document of issuers was not written, since this version is stored already"
            );
        }
        Ok(Some(written))
    }
}

/// Requests all URLs concurrently. The result omits issuers without a usable answer.
async fn ask(addresses: &[Asked]) -> Answers {
    if addresses.is_empty() {
        return Answers::new();
    }
    let client = match client::client(addresses.iter().map(|asked| &asked.url)) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "the HTTP client cannot be built, so no issuer was asked; stored keys are used until a week after their answer");
            return Answers::new();
        }
    };
    let answers = addresses.iter().map(|asked| {
        let client = &client;
        async move {
            let usable = client::fetch(client, asked.url.clone()).await.and_then(|answer| {
                KeySet::usable(&answer, &asked.algorithms).map_err(AnswerError::Keys)
            });
            let keys = usable.inspect_err(|error| {
                let (list, issuer) = (asked.list.as_str(), asked.issuer.as_str());
                tracing::warn!(list, issuer, %error, "an issuer did not answer with usable keys; its former keys are used until a week after its last answer");
            });
            Some(((asked.list, asked.issuer.clone()), keys.ok()?))
        }
    });
    join_all(answers).await.into_iter().flatten().collect()
}

impl<P, S, R> Handle for Fetcher<P, S, R>
where
    P: ReadParameter + 'static,
    S: ReadIssuers + StoreIssuers + 'static,
    R: Runtime + Metrics,
{
    type Event = IgnoredAny;
    type Answer = Outcome;
    type Error = RunError;

    async fn handle(&self, _event: IgnoredAny, _invocation: &Invocation) -> Result<Outcome, RunError> {
        self.run().await
    }
}
