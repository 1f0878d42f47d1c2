//! Draws the arrival times of shoppers from the profile and the seed before the run. They do not depend on the
//! speed of answers.

use crate::drop_file::Profile;

/// The arrival times of `shoppers`, in order, in microseconds relative to the opening (negative before it).
///
/// The number of shoppers in each phase is exact; only their times within the phase are random.
#[must_use]
pub fn schedule(profile: &Profile, shoppers: u32, seed: u64) -> Vec<i64> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x6172_7269_7661_6c73);
    let before = count(profile.before.share, shoppers);
    let surge = count(profile.surge.share, shoppers).min(shoppers.saturating_sub(before));
    let tail = shoppers.saturating_sub(before).saturating_sub(surge);
    let mut times = Vec::with_capacity(usize::try_from(shoppers).unwrap_or_default());
    times.extend((0..before).map(|_| micros(-profile.before.seconds * rng.f64())));
    // This inverts the distribution of a density that falls linearly to zero at the end of the surge.
    times.extend((0..surge).map(|_| micros(profile.surge.seconds * (1.0 - (1.0 - rng.f64()).sqrt()))));
    times.extend((0..tail).map(|_| micros(profile.tail.seconds * rng.f64())));
    times.sort_unstable();
    times
}

/// The position of each shopper in the order of arrivals, shuffled: a shopper's number says nothing about the
/// arrival time.
#[must_use]
pub fn places(shoppers: u32, seed: u64) -> Vec<u32> {
    let mut places: Vec<u32> = (0..shoppers).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut places);
    places
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a u32 is one"
)]
fn count(share: f64, shoppers: u32) -> u32 {
    (share * f64::from(shoppers)).round() as u32
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "seconds of a drop, far below 2^53 microseconds"
)]
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drop_file::Phase;

    fn profile() -> Profile {
        Profile {
            before: Phase {
                share: 0.1,
                seconds: 5.0,
            },
            surge: Phase {
                share: 0.5,
                seconds: 10.0,
            },
            tail: Phase {
                share: 0.4,
                seconds: 30.0,
            },
        }
    }

    #[test]
    fn a_seed_fixes_every_arrival() {
        assert_eq!(schedule(&profile(), 5_000, 7), schedule(&profile(), 5_000, 7));
        assert_ne!(schedule(&profile(), 5_000, 7), schedule(&profile(), 5_000, 8));
    }

    #[test]
    fn phases_get_their_share() {
        let times = schedule(&profile(), 10_000, 1);
        assert_eq!(times.len(), 10_000);
        assert!(times.is_sorted());
        assert_eq!(times.iter().filter(|t| **t < 0).count(), 1_000);
        assert!(times.iter().all(|t| (-5_000_000..30_000_000).contains(t)));
        // The tail lasts 30 s from the opening, so two thirds of its 4,000 shoppers arrive after the surge.
        let late = times.iter().filter(|t| **t >= 10_000_000).count();
        assert!((2_500..2_830).contains(&late), "{late} arrivals after the surge");
    }

    #[test]
    fn the_surge_is_densest_at_the_opening() {
        let only_surge = Profile {
            before: Phase {
                share: 0.0,
                seconds: 1.0,
            },
            surge: Phase {
                share: 1.0,
                seconds: 10.0,
            },
            tail: Phase {
                share: 0.0,
                seconds: 1.0,
            },
        };
        let times = schedule(&only_surge, 10_000, 3);
        let within = |from: i64, to: i64| times.iter().filter(|t| (from..to).contains(*t)).count();
        // A linearly falling density has 3/4 of its mass in the first half.
        let first_half = within(0, 5_000_000);
        assert!((7_300..7_700).contains(&first_half), "{first_half}");
        assert!(within(0, 1_000_000) > 10 * within(9_000_000, 10_000_000));
    }

    #[test]
    fn few_shoppers_are_all_scheduled() {
        for n in 1..20 {
            assert_eq!(schedule(&profile(), n, 0).len(), usize::try_from(n).unwrap());
        }
    }
}
