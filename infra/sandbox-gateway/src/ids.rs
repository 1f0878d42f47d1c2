//! Makes ids, which follow from a seed and a counter, and random draws, which follow from a seed and labels. So a draw
//! does not depend on the order of requests.

/// Mixes a seed with labels into 64 well-spread bits (FNV-1a over the bytes, finished with SplitMix64's avalanche).
/// Not for secrets.
#[must_use]
pub fn mix(seed: u64, labels: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for label in labels {
        for byte in *label {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        // The separator makes the results for ("ab", "c") and ("a", "bc") differ.
        hash = (hash ^ 0x1ff).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut z = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in `0.0..1.0` that depends only on the seed and the labels.
#[must_use]
pub fn draw(seed: u64, labels: &[&[u8]]) -> f64 {
    fastrand::Rng::with_seed(mix(seed, labels)).f64()
}

/// Makes ids such as `pi_5f0e…`. A counter makes them unique, and the seed makes the ids of two sandboxes differ.
#[derive(Debug)]
pub struct Ids {
    seed: u64,
    made: u64,
}

impl Ids {
    /// Ids that follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, made: 0 }
    }

    /// The next id, `{prefix}_` and 24 hexadecimal digits.
    pub fn next(&mut self, prefix: &str) -> String {
        self.made += 1;
        let spread = mix(self.seed, &[prefix.as_bytes(), &self.made.to_be_bytes()]);
        format!("{prefix}_{spread:016x}{:08x}", self.made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_repeat_with_the_seed_and_never_within_it() {
        let mut one = Ids::new(7);
        let mut two = Ids::new(7);
        let mut other = Ids::new(8);
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let id = one.next("pi");
            assert_eq!(id, two.next("pi"));
            assert_ne!(id, other.next("pi"));
            assert!(seen.insert(id));
        }
    }

    #[test]
    fn draws_are_spread_and_depend_on_label_borders() {
        let below = (0..10_000_u32)
            .filter(|n| draw(1, &[b"x", &n.to_be_bytes()]) < 0.3)
            .count();
        assert!((2_800..3_200).contains(&below), "{below} of 10000 below 0.3");
        assert_ne!(mix(1, &[b"ab", b"c"]), mix(1, &[b"a", b"bc"]));
    }
}
