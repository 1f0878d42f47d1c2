//! Measures the CPU time of verifying a token, by algorithm.
//!
//! The tokens were made by npm's `oauth2-mock-server` for the tests of `shared/tokens`. The measurement includes
//! parsing of header and claims.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokens::{Audience, Issuers, Verifier};

/// The algorithms that the functions verify.
pub const ALGORITHMS: [&str; 3] = ["EdDSA", "ES256", "RS256"];

/// The tokens and the keys that verify them, as JSON.
const MADE: &str = include_str!("../../../shared/tokens/src/outside_tokens.json");

/// Verifies one token of each algorithm.
#[derive(Debug)]
pub struct Tokens {
    verifier: Verifier,
    made: Value,
    now_s: i64,
}

impl Tokens {
    /// Reads the stored tokens and keys.
    ///
    /// # Errors
    /// When the stored file has changed its form.
    pub fn read() -> anyhow::Result<Self> {
        let made: Value = serde_json::from_str(MADE)?;
        let keys = made.get("keys").and_then(Value::as_array).context("keys")?;
        let usable = |key: &&Value| {
            let algorithm = key.get("alg").and_then(Value::as_str);
            algorithm.is_some_and(|algorithm| ALGORITHMS.contains(&algorithm))
        };
        let usable: Vec<&Value> = keys.iter().filter(usable).collect();
        let entry = json!({
            "issuer": made.get("issuer"), "audiences": ["drops"], "algorithms": ALGORITHMS, "max_life_seconds": 3_600, "keys": usable,
        });
        let issuers = Issuers::parse(&json!({ "issuers": [entry] }).to_string())?;
        let now_s = made.get("iat").and_then(Value::as_i64).context("iat")?;
        Ok(Self {
            verifier: Verifier::of(Audience::Shopper, issuers)?,
            made,
            now_s,
        })
    }

    /// CPU time of this thread for each of `times` verifications, in microseconds.
    ///
    /// # Errors
    /// When a token is refused.
    pub fn cpu_us(&self, algorithm: &str, times: u32) -> anyhow::Result<f64> {
        let tokens = self.made.get("tokens").and_then(|tokens| tokens.get(algorithm));
        let token = tokens.and_then(Value::as_str).context("a token")?;
        let began = thread_cpu()?;
        for _ in 0..times {
            let verified = self.verifier.verify(black_box(token), self.now_s);
            ensure!(verified.is_ok(), "{algorithm}: {verified:?}");
        }
        let spent = thread_cpu()?.saturating_sub(began);
        Ok(spent.as_secs_f64() * 1e6 / f64::from(times))
    }
}

fn thread_cpu() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("the CPU time of this thread")?;
    Ok(time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_is_measured() {
        let tokens = Tokens::read().unwrap();
        for algorithm in ALGORITHMS {
            let us = tokens.cpu_us(algorithm, 100).unwrap();
            assert!(us > 1.0, "{algorithm}: {us} µs");
        }
        assert!(tokens.cpu_us("PS256", 1).is_err());
    }
}
