//! Measures every request's latency from its *intended* start, and the lateness of arrivals.
//!
//! Every request is kept, in 16 bytes; histograms are made once, at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::named;
use hdrhistogram::Histogram;
use serde::Serialize;

named! {
    /// The endpoints that are reported separately.
    pub enum Endpoint {
        /// `GET /drops`
        ListDrops = "list_drops",
        /// `GET /drops/{drop_id}`
        ShowDrop = "show_drop",
        /// `GET /drops/{drop_id}/status`
        ShowStatus = "show_status",
        /// `POST /drops/{drop_id}/reservations`
        Reserve = "reserve",
        /// `DELETE /drops/{drop_id}/reservations/{reservation_id}`
        Release = "release",
        /// `POST /orders`
        Checkout = "checkout",
        /// `GET /orders/{order_id}`
        ShowOrder = "show_order",
        /// `POST /orders/{order_id}/cancel`
        CancelOrder = "cancel_order",
        /// `POST /orders/{order_id}/payments`
        PayOrder = "pay_order",
        /// The bank's page at the gateway, which is not part of the API.
        Bank = "bank_page",
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Intended send time, in ms relative to the opening.
    pub intended_ms: i32,
    /// The time from the intended send time to the end of the answer or to the time-out, in µs.
    pub latency_us: u32,
    /// The modelled part of the latency, in µs.
    pub modelled_us: u32,
    pub endpoint: Endpoint,
    pub outcome: u16,
}

#[derive(Debug, Default)]
pub struct Recorder {
    measured: Mutex<Measured>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// All requests, in the order of their ends.
    pub samples: Vec<Sample>,
    /// The outcomes' names by index.
    pub outcomes: Vec<String>,
    /// The lateness of each arrival's first request, in µs.
    pub late_arrivals_us: Vec<u32>,
    /// The lateness of each later request after the shopper's think time, in µs.
    pub late_steps_us: Vec<u32>,
    /// The time at which each shopper should have arrived, in ms relative to the opening.
    pub arrivals_ms: Vec<i32>,
}

impl Recorder {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a shopper was due at `intended_ms` and sent its first request `late` after that.
    pub fn arrival(&self, intended_ms: i32, late: Duration) {
        let mut measured = self.measured();
        measured.arrivals_ms.push(intended_ms);
        measured.late_arrivals_us.push(micros(late));
    }

    /// Records that a request was sent `late` after the end of a think time.
    pub fn step(&self, late: Duration) {
        self.measured().late_steps_us.push(micros(late));
    }

    /// Records a finished request.
    pub fn request(&self, endpoint: Endpoint, intended_ms: i32, latency: Duration, outcome: &str) {
        self.request_modelled(endpoint, intended_ms, latency, 0, outcome);
    }

    /// Records a finished request. `modelled_us` is the part of the latency that was modelled, in µs.
    pub fn request_modelled(
        &self,
        endpoint: Endpoint,
        intended_ms: i32,
        latency: Duration,
        modelled_us: u32,
        outcome: &str,
    ) {
        let mut measured = self.measured();
        let known = measured.outcomes.iter().position(|known| known == outcome);
        let index = known.unwrap_or(measured.outcomes.len());
        if known.is_none() {
            measured.outcomes.push(outcome.to_owned());
        }
        measured.samples.push(Sample {
            intended_ms,
            latency_us: micros(latency),
            modelled_us,
            endpoint,
            outcome: u16::try_from(index).unwrap_or(u16::MAX),
        });
    }

    /// The number of finished requests so far.
    pub fn requests(&self) -> usize {
        self.measured().samples.len()
    }

    /// Takes all measurements.
    pub fn finish(&self) -> Measured {
        std::mem::take(&mut *self.measured())
    }
}

impl Measured {
    #[must_use]
    pub fn latencies(&self) -> BTreeMap<Endpoint, Percentiles> {
        self.by(|s| Some(s.endpoint))
    }

    /// Percentiles by endpoint of the requests intended before (`false`) or after (`true`) the opening.
    #[must_use]
    pub fn latencies_of_phase(&self, open: bool) -> BTreeMap<Endpoint, Percentiles> {
        self.by(|s| ((s.intended_ms >= 0) == open).then_some(s.endpoint))
    }

    /// Percentiles of one endpoint by second, relative to the opening, in which the request should have been sent.
    #[must_use]
    pub fn seconds(&self, endpoint: Endpoint) -> BTreeMap<i32, Percentiles> {
        self.by(|s| (s.endpoint == endpoint).then(|| s.intended_ms.div_euclid(1_000)))
    }

    /// Percentiles of the requests for which `key` is not `None`, by key.
    fn by<K: Ord>(&self, key: impl Fn(&Sample) -> Option<K>) -> BTreeMap<K, Percentiles> {
        let mut values: BTreeMap<K, Vec<u32>> = BTreeMap::new();
        for sample in &self.samples {
            if let Some(key) = key(sample) {
                values.entry(key).or_default().push(sample.latency_us);
            }
        }
        let found = values.into_iter();
        found.map(|(key, values)| (key, percentiles(&values))).collect()
    }

    /// The name of a sample's outcome.
    pub(crate) fn outcome(&self, sample: &Sample) -> &str {
        let name = self.outcomes.get(usize::from(sample.outcome));
        name.map_or("?", String::as_str)
    }

    #[must_use]
    pub fn counts(&self) -> BTreeMap<Endpoint, BTreeMap<String, u64>> {
        let mut counts: BTreeMap<Endpoint, BTreeMap<String, u64>> = BTreeMap::new();
        for sample in &self.samples {
            let of_endpoint = counts.entry(sample.endpoint).or_default();
            let outcome = self.outcome(sample).to_owned();
            *of_endpoint.entry(outcome).or_default() += 1;
        }
        counts
    }
}

/// The percentiles, in ms, of values in µs; all are 0 without values.
#[must_use]
pub fn percentiles(values_us: &[u32]) -> Percentiles {
    let mut histogram = new_histogram();
    for value in values_us {
        histogram.saturating_record(u64::from(*value).max(1));
    }
    let at = |quantile: f64| to_ms(histogram.value_at_quantile(quantile).min(histogram.max()));
    Percentiles {
        count: histogram.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: to_ms(histogram.max()),
    }
}

/// A histogram of values from 1 µs to 10 minutes, with three significant digits.
#[allow(
    clippy::expect_used,
    reason = "constant bounds, which the constructor accepts"
)]
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("valid bounds")
}

fn to_ms(us: u64) -> f64 {
    f64::from(u32::try_from(us).unwrap_or(u32::MAX)) / 1_000.0
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_values() {
        let values: Vec<u32> = (1..=1_000).map(|n| n * 1_000).collect();
        let found = percentiles(&values);
        assert_eq!(found.count, 1_000);
        for (value, wanted) in [
            (found.p50, 500.0),
            (found.p90, 900.0),
            (found.p99, 990.0),
            (found.p999, 999.0),
        ] {
            assert!(
                (value - wanted).abs() / wanted < 0.002,
                "{value} instead of {wanted}"
            );
        }
        assert!((found.max - 1_000.0).abs() < 1.0);
        assert_eq!(
            percentiles(&[]),
            Percentiles {
                count: 0,
                p50: 0.0,
                p90: 0.0,
                p99: 0.0,
                p999: 0.0,
                max: 0.0
            }
        );
    }

    #[test]
    fn requests_are_told_apart_by_endpoint_second_and_outcome() {
        let recorder = Recorder::default();
        recorder.request(Endpoint::Reserve, -1, Duration::from_millis(5), "409 not_open");
        recorder.request(Endpoint::Reserve, 0, Duration::from_millis(10), "201");
        recorder.request(Endpoint::Reserve, 999, Duration::from_millis(10), "201");
        recorder.request(Endpoint::Checkout, 2_500, Duration::from_millis(20), "202");
        let measured = recorder.finish();
        assert_eq!(measured.counts()[&Endpoint::Reserve]["201"], 2);
        let seconds: Vec<(i32, u64)> = measured
            .seconds(Endpoint::Reserve)
            .iter()
            .map(|(second, found)| (*second, found.count))
            .collect();
        assert_eq!(seconds, [(-1, 1), (0, 2)]);
        assert_eq!(measured.latencies_of_phase(false).len(), 1);
        assert_eq!(measured.latencies_of_phase(true)[&Endpoint::Reserve].count, 2);
        assert_eq!(measured.latencies()[&Endpoint::Reserve].count, 3);
    }
}
