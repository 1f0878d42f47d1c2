//! Converts measured rates to whole units, and divides whole units by shares.

/// A fraction below this value is a rounding error of binary fractions and not demand, so it adds no unit.
const SLACK: f64 = 1e-6;

/// The smallest number of whole units that covers `amount`: 0 for zero or less, the largest number for
/// an overflow.
#[must_use]
pub fn units_up(amount: f64) -> u32 {
    whole((amount - SLACK).ceil())
}

/// The largest number of whole units that `amount` covers.
#[must_use]
pub fn units_down(amount: f64) -> u32 {
    whole((amount + SLACK).floor())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float stops at the ends of the range, which is what is meant"
)]
fn whole(amount: f64) -> u32 {
    amount.max(0.0) as u32
}

/// A share of the whole, in millionths, so that comparisons are exact and a bisection needs twenty steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Share(u32);

impl Share {
    /// The share of 100 %.
    pub const WHOLE: Self = Self(1_000_000);
    /// The share of 0 %.
    pub const NONE: Self = Self(0);

    /// The share as a factor, 0 to 1.
    #[must_use]
    pub fn factor(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE.0)
    }

    /// The share that `part` has of `whole`, rounded down; [`WHOLE`](Self::WHOLE) if `whole` is zero.
    #[must_use]
    pub fn of(part: f64, whole: f64) -> Self {
        if whole <= 0.0 {
            return Self::WHOLE;
        }
        Self(units_down(part / whole * f64::from(Self::WHOLE.0)).min(Self::WHOLE.0))
    }

    /// The largest share for which `fits` holds; `None` if it holds for no share. If `fits` holds for a
    /// share, it must hold for every smaller share.
    pub fn largest(fits: impl Fn(Self) -> bool) -> Option<Self> {
        if fits(Self::WHOLE) {
            return Some(Self::WHOLE);
        }
        if !fits(Self::NONE) {
            return None;
        }
        let (mut good, mut bad) = (Self::NONE.0, Self::WHOLE.0);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if fits(Self(middle)) {
                good = middle
            } else {
                bad = middle
            }
        }
        Some(Self(good))
    }
}

/// Divides `total` into whole units in proportion to `weights`. The parts add up to `total`, or to 0 if no
/// weight is positive. The units that rounding leaves over go to the largest remainders.
#[must_use]
pub fn share_out(total: u32, weights: &[u32]) -> Vec<u32> {
    let sum: u64 = weights.iter().map(|w| u64::from(*w)).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let product = |weight: &u32| u64::from(total) * u64::from(*weight);
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let mut parts: Vec<u32> = weights.iter().map(|w| narrow(product(w) / sum)).collect();
    let left = total - parts.iter().sum::<u32>();
    let mut by_remainder: Vec<(&u32, &mut u32)> = weights.iter().zip(&mut parts).collect();
    by_remainder.sort_by_key(|(weight, _)| std::cmp::Reverse(product(weight) % sum));
    for (_, part) in by_remainder.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        *part += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fractions_round_up_and_noise_does_not() {
        assert_eq!(units_up(200_000.0 / 10.0 * 1.2), 24_000);
        assert_eq!(units_up(0.0), 0);
        assert_eq!(units_up(0.01), 1);
        assert_eq!(units_up(7.0), 7);
        assert_eq!(units_up(7.01), 8);
        assert_eq!(units_up(-3.0), 0);
        assert_eq!(units_up(f64::NAN), 0);
        assert_eq!(units_up(1e300), u32::MAX);
        assert_eq!(units_down(7.99), 7);
        assert_eq!(units_down(7.0), 7);
        assert_eq!(units_down(-1.0), 0);
    }

    #[test]
    fn the_largest_share_that_fits_is_found() {
        assert_eq!(Share::largest(|_| true), Some(Share::WHOLE));
        assert_eq!(Share::largest(|_| false), None);
        assert_eq!(Share::largest(|s| s <= Share(333_333)), Some(Share(333_333)));
        assert_eq!(Share::of(1.0, 4.0), Share(250_000));
        assert_eq!(Share::of(5.0, 4.0), Share::WHOLE);
        assert_eq!(Share::of(0.0, 0.0), Share::WHOLE);
    }

    proptest! {
        #[test]
        fn sharing_out_loses_and_invents_nothing(total in 0u32..100_000, weights in proptest::collection::vec(0u32..50_000, 1..8)) {
            let parts = share_out(total, &weights);
            let some = weights.iter().any(|w| *w > 0);
            prop_assert_eq!(parts.iter().sum::<u32>(), if some { total } else { 0 });
            let sum: u32 = weights.iter().sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let fair = f64::from(total) * f64::from(*weight) / f64::from(sum.max(1));
                prop_assert!((f64::from(*part) - fair).abs() < 1.0);
            }
        }
    }
}
