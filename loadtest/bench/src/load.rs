//! Measures the throughput of the whole stack, and its latency at half of that rate.
//!
//! First a closed loop finds the rate: each connection sends its next request as soon as the last was answered.
//! Then requests arrive at half of that rate, at random times drawn in advance, whether or not earlier requests
//! were answered. A request's latency counts from the time at which the request was due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::HeaderValue;
use http::header::HOST;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use loadtest::client::{Answer, Call};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::mix::{Kind, Mix};

/// Answers by kind and status.
pub type Answers = BTreeMap<(Kind, u16), u64>;

/// The duration, the answers and the latency of one load phase.
#[derive(Debug)]
pub struct Phase {
    /// The length of the phase, in seconds.
    pub seconds: f64,
    pub answers: Answers,
    /// The latency from the time at which each request was due, in microseconds.
    pub latency_us: Histogram<u64>,
}

impl Phase {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            seconds: 0.0,
            answers: Answers::new(),
            latency_us: Histogram::new_with_bounds(1, 60_000_000, 3)?,
        })
    }

    /// The number of requests that were answered as expected.
    #[must_use]
    pub fn good(&self) -> u64 {
        let answers = self.answers.iter();
        let good = answers.filter(|((kind, status), _)| *status == kind.wanted());
        good.map(|(_, n)| n).sum()
    }

    /// The number of all answered requests.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.answers.values().sum()
    }

    /// The number of requests that were answered as expected, a second.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.good() as f64 / self.seconds
        } else {
            0.0
        }
    }

    /// The latency that `share` of the requests did not exceed, in milliseconds.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn latency_ms(&self, share: f64) -> f64 {
        self.latency_us.value_at_quantile(share) as f64 / 1e3
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        for (answer, n) in &other.answers {
            *self.answers.entry(*answer).or_default() += n;
        }
        self.latency_us.add(&other.latency_us)?;
        Ok(())
    }
}

/// A connection to the API that is kept open between requests.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Connection {
    async fn open(authority: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(authority).await.context("the API")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: HeaderValue::from_str(authority)?,
        })
    }

    async fn send(&mut self, call: &Call) -> anyhow::Result<Answer> {
        let mut request = call.request();
        *request.uri_mut() = call.uri.path_and_query().map_or("/", |p| p.as_str()).parse()?;
        request.headers_mut().insert(HOST, self.host.clone());
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        Ok(Answer {
            modelled_us: 0,
            status: head.status.as_u16(),
            retry_after: None,
            body: body.collect().await?.to_bytes(),
        })
    }
}

/// The times at which requests are due.
enum Due {
    /// A request is due as soon as the last request on its connection was answered, until this time.
    Closed(Instant),
    /// Requests are due at these offsets from the start. The last field counts the offsets that were used.
    Open(Instant, Vec<Duration>, AtomicUsize),
}

impl Due {
    /// The time of the next request; `None` at the end.
    async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed(end) => Some(Instant::now()).filter(|now| now < end),
            Self::Open(begin, moments, taken) => {
                let at = *begin + *moments.get(taken.fetch_add(1, Ordering::Relaxed))?;
                tokio::time::sleep_until(at).await;
                Some(at)
            }
        }
    }
}

/// Sends requests for `seconds`. Each of the `connections` sends its next request as soon as the last was answered.
///
/// # Errors
/// When the API cannot be reached.
pub async fn closed(
    authority: &str,
    mix: &Arc<Mix>,
    connections: usize,
    seconds: f64,
) -> anyhow::Result<Phase> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    phase(authority, mix, connections, Due::Closed(end)).await
}

/// Sends requests at `rate` a second for `seconds`, at times that `seed` determines (a Poisson process).
///
/// # Errors
/// When the API cannot be reached.
pub async fn open(
    authority: &str,
    mix: &Arc<Mix>,
    connections: usize,
    rate: f64,
    seconds: f64,
    seed: u64,
) -> anyhow::Result<Phase> {
    if rate <= 0.0 {
        bail!("a rate of {rate} requests a second");
    }
    let begin = Instant::now() + Duration::from_millis(50);
    let due = Due::Open(begin, arrivals(rate, seconds, seed), AtomicUsize::new(0));
    phase(authority, mix, connections, due).await
}

fn arrivals(rate: f64, seconds: f64, seed: u64) -> Vec<Duration> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut at = 0.0;
    std::iter::from_fn(|| {
        at -= (1.0 - rng.f64()).ln() / rate;
        (at < seconds).then(|| Duration::from_secs_f64(at))
    })
    .collect()
}

async fn phase(authority: &str, mix: &Arc<Mix>, connections: usize, due: Due) -> anyhow::Result<Phase> {
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        opened.push(Connection::open(authority).await?);
    }
    let due = Arc::new(due);
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for connection in opened {
        workers.spawn(work(connection, Arc::clone(mix), Arc::clone(&due)));
    }
    let mut total = Phase::new()?;
    while let Some(done) = workers.join_next().await {
        total.add(&done??)?;
    }
    total.seconds = began.elapsed().as_secs_f64();
    Ok(total)
}

async fn work(mut connection: Connection, mix: Arc<Mix>, due: Arc<Due>) -> anyhow::Result<Phase> {
    let mut done = Phase::new()?;
    while let Some(at) = due.next().await {
        let next = mix.next()?;
        let answer = connection.send(&next.call).await?;
        let took = u64::try_from(at.elapsed().as_micros())?;
        done.latency_us.saturating_record(took.max(1));
        *done.answers.entry((next.kind, answer.status)).or_default() += 1;
        if answer.status == next.kind.wanted() {
            mix.answered(&next, &answer);
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_their_rate_in_order() {
        let moments = arrivals(1_000.0, 5.0, 3);
        assert!((4_700..5_300).contains(&moments.len()), "{}", moments.len());
        assert!(moments.is_sorted() && moments.last().unwrap().as_secs_f64() < 5.0);
        assert_eq!(moments, arrivals(1_000.0, 5.0, 3));
    }

    #[test]
    fn only_good_answers_make_the_rate() {
        let mut phase = Phase::new().unwrap();
        phase.seconds = 2.0;
        phase.answers = Answers::from([
            ((Kind::Browse, 200), 8),
            ((Kind::Reserve, 201), 2),
            ((Kind::Reserve, 409), 5),
        ]);
        assert_eq!(phase.good(), 10);
        assert_eq!(phase.all(), 15);
        assert_eq!(phase.rate(), 5.0);
    }
}
