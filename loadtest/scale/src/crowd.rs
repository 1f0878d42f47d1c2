//! Makes the crowd: the load test's shoppers in a larger number and with other arrival times.
//!
//! A shopper's choices are those of [`loadtest::behaviour`] with the default drop file, and the shopper is
//! [`loadtest::shopper`]: the code of `make drop`. This module determines only the arrival times.

use anyhow::Context as _;
use loadtest::drop_file::{DropFile, SkuLine};

use crate::settings::{Settings, Shape};

/// The default drop file, which is used if the settings name no drop file. The settings replace its SKUs, times and
/// number of shoppers.
const DEFAULT: &str = include_str!("../../drops/default.toml");
/// The share of shoppers who arrive before the opening and wait for it, and their longest wait in seconds, as in
/// the default drop file.
const BEFORE: (f64, f64) = (0.05, 6.0);
/// The duration of a sustained crowd's arrivals, in seconds.
const SUSTAINED_SECONDS: f64 = 60.0;
/// The time in which the rate of a ramp rises, in seconds.
const RAMP_SECONDS: f64 = 20.0;
/// The time in which the rate of a steep crowd halves, in seconds.
const HALF_SECONDS: f64 = 10.0;

/// The drop file of `settings`, or else the default drop file with the goods and times of `settings`.
///
/// # Errors
///
/// When a drop file cannot be read or is invalid.
pub fn drop_file(settings: &Settings) -> anyhow::Result<DropFile> {
    if let Some(path) = &settings.drop {
        return DropFile::load(path);
    }
    let mut file = DropFile::parse(DEFAULT).context("loadtest/drops/default.toml")?;
    let skus = settings.skus.clamp(1, settings.units.max(1));
    let first = file.skus.first().context("the default drop sells nothing")?;
    let first = first.clone();
    file.skus = (0..skus)
        .map(|nth| SkuLine {
            sku: format!("SKU-{nth}"),
            units: settings.units / skus + u32::from(nth < settings.units % skus),
            weight: 1.0,
            ..first.clone()
        })
        .collect();
    file.title = "A drop of full size".to_owned();
    file.shoppers = settings.expects;
    file.hold_seconds = settings.hold_seconds;
    file.payment_seconds = settings.payment_seconds;
    file.open_seconds = settings.open_seconds;
    Ok(file)
}

/// The arrival time of each shopper of a run, in µs from the opening, in order.
#[must_use]
pub fn schedule(settings: &Settings, file: &DropFile) -> Vec<i64> {
    match settings.drop {
        Some(_) => loadtest::arrivals::schedule(&file.arrivals, settings.shoppers, settings.seed),
        None => arrivals(settings.shape, settings.shoppers, settings.seed),
    }
}

/// All shoppers, each as a number from 0, in the order of their arrival. With a drop file the order is that of a load
/// run.
#[must_use]
pub fn order(settings: &Settings) -> Vec<u32> {
    let mut order: Vec<u32> = (0..settings.shoppers).collect();
    if settings.drop.is_some() {
        let places = loadtest::arrivals::places(settings.shoppers, settings.seed);
        order.sort_by_key(|index| usize::try_from(*index).ok().and_then(|at| places.get(at)));
    }
    order
}

/// The arrival time of each shopper, in µs from the opening, in order.
#[must_use]
pub fn arrivals(shape: Shape, shoppers: u32, seed: u64) -> Vec<i64> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5ca1_ab1e);
    let (share, seconds) = BEFORE;
    let mut moments: Vec<i64> = (0..shoppers)
        .map(|_| {
            let drawn = rng.f64();
            // Shoppers who arrive before the opening act at the opening. In a ramp, they would make the
            // opening the busiest second, so a ramp has none.
            if shape != Shape::Ramp && rng.f64() < share {
                return micros(-seconds * drawn);
            }
            micros(match shape {
                Shape::Steep => -HALF_SECONDS * (1.0 - drawn).log2(),
                Shape::Sustained => SUSTAINED_SECONDS * drawn,
                Shape::Ramp => RAMP_SECONDS * drawn.sqrt(),
            })
        })
        .collect();
    moments.sort_unstable();
    moments
}

#[allow(clippy::cast_possible_truncation, reason = "seconds of a drop in µs")]
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(moments: &[i64], from_s: i64, to_s: i64) -> usize {
        let range = from_s * 1_000_000..to_s * 1_000_000;
        moments.iter().filter(|at| range.contains(at)).count()
    }

    #[test]
    fn a_steep_crowd_halves_every_ten_seconds() {
        let moments = arrivals(Shape::Steep, 100_000, 1);
        assert!(moments.is_sorted());
        let (first, second) = (within(&moments, 0, 10), within(&moments, 10, 20));
        assert!((46_000..49_000).contains(&first), "{first}");
        assert!((22_500..25_000).contains(&second), "{second}");
        assert_eq!(arrivals(Shape::Steep, 1_000, 7), arrivals(Shape::Steep, 1_000, 7));
        assert_ne!(arrivals(Shape::Steep, 1_000, 7), arrivals(Shape::Steep, 1_000, 8));
    }

    #[test]
    fn a_ramp_rises_evenly() {
        let moments = arrivals(Shape::Ramp, 40_000, 1);
        let (half, quarter) = (within(&moments, 0, 10), within(&moments, 0, 5));
        assert!((9_700..10_300).contains(&half), "{half}");
        assert!((2_350..2_650).contains(&quarter), "{quarter}");
    }

    #[test]
    fn the_estimate_gives_every_full_crowd_the_same_busiest_second() {
        for shape in [Shape::Steep, Shape::Sustained, Shape::Ramp] {
            let expects = shape.expects(shape.shoppers());
            assert_eq!(domain::crowd::busiest_second(expects), 200_000, "{shape:?}");
        }
        assert_eq!(Shape::Sustained.expects(33), 10);
    }

    #[test]
    fn a_sustained_crowd_comes_for_a_minute() {
        let moments = arrivals(Shape::Sustained, 60_000, 1);
        assert_eq!(within(&moments, -6, 60), 60_000);
        let tenth = within(&moments, 50, 60);
        assert!((9_100..9_900).contains(&tenth), "{tenth}");
    }
}
