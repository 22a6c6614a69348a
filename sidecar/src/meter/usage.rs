//! Usage in its normal form: what each dialect's numbers are turned into.

use super::money::PicoUsd;

/// How far the numbers can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quality {
    /// The provider reported them, and they add up.
    #[default]
    Exact,
    /// Computed from the bytes seen, or reported with a contradiction.
    Estimated,
}

/// The units that a call is charged for. The kinds don't overlap, but
/// `reasoning`, which is a part of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens at full price.
    pub input: u64,
    /// Input tokens read from the provider's cache.
    pub cached: u64,
    /// Input tokens written to it, with the short time to live.
    pub cache_write: u64,
    /// Input tokens written to it, with the long one.
    pub cache_write_long: u64,
    /// All output, reasoning included.
    pub output: u64,
    /// Of the output: reasoning.
    pub reasoning: u64,
    /// What the provider itself says it charges for the whole call.
    pub vendor_cost: Option<PicoUsd>,
    /// How far to trust it.
    pub quality: Quality,
}

// ---------------------------------------------------------------- impl Usage

impl Usage {
    /// Numbers that nobody reported.
    pub fn estimated(input: u64, output: u64) -> Self {
        Self {
            input,
            output,
            quality: Quality::Estimated,
            ..Self::default()
        }
    }

    /// Every input token, whatever its price: what selects a price tier.
    pub fn total_input(&self) -> u64 {
        self.input
            .saturating_add(self.cached)
            .saturating_add(self.cache_write)
            .saturating_add(self.cache_write_long)
    }
}
