//! Makes random decisions from a seed: a stream of numbers for decisions in order, and a number by key for decisions
//! that must stay the same when other decisions are left out.

pub use domain::choice::mix;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The `nth` random number for `key`. It does not depend on any other number.
#[must_use]
pub const fn keyed(seed: u64, key: u64, nth: u64) -> u64 {
    mix(mix(mix(seed.wrapping_add(STEP)) ^ key).wrapping_add(nth.wrapping_mul(STEP)))
}

/// Hashes a text to a key (FNV-1a).
#[must_use]
pub fn key_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A stream of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of random numbers that follows from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number of the stream.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number().checked_rem(bound).unwrap_or(0)
    }

    /// A number from `from` to `to`, both included.
    pub fn within(&mut self, from: u32, to: u32) -> u32 {
        let span = u64::from(to.saturating_sub(from)) + 1;
        from.saturating_add(u32::try_from(self.below(span)).unwrap_or(0))
    }

    /// True with a probability of `percent` percent.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`; `None` if there are none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let at = usize::try_from(self.below(choices.len() as u64)).ok()?;
        choices.get(at).copied()
    }
}
