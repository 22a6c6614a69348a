//! Usage in its normal form: what each dialect's numbers are turned into.

use super::money::PicoUsd;

/// More tokens of a kind than any call has: a report of more is a defect of the provider's.
const MAX_TOKENS: u64 = 1_000_000_000_000;
/// More than any call costs: a million USD.
const MAX_COST: PicoUsd = PicoUsd(1_000_000_000_000_000_000);

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
    /// False where it is too absurd to count: counters only go up, and one such
    /// report would ruin them for good.
    pub(crate) fn is_credible(&self) -> bool {
        let &Self {
            input,
            cached,
            cache_write,
            cache_write_long,
            output,
            reasoning: _, // a part of `output`
            vendor_cost,
            quality: _,
        } = self;
        [input, cached, cache_write, cache_write_long, output]
            .iter()
            .all(|tokens| *tokens <= MAX_TOKENS)
            && vendor_cost.is_none_or(|cost| cost <= MAX_COST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_call_can_have_used_is_not_credible() {
        let most = Usage {
            input: MAX_TOKENS,
            output: MAX_TOKENS,
            vendor_cost: Some(MAX_COST),
            ..Usage::default()
        };
        assert!(most.is_credible());
        let more = MAX_TOKENS + 1;
        for absurd in [
            Usage {
                input: more,
                ..most
            },
            Usage {
                cached: more,
                ..most
            },
            Usage {
                cache_write: more,
                ..most
            },
            Usage {
                cache_write_long: more,
                ..most
            },
            Usage {
                output: u64::MAX,
                ..most
            },
            Usage {
                vendor_cost: Some(PicoUsd(MAX_COST.0 + 1)),
                ..most
            },
        ] {
            assert!(!absurd.is_credible(), "{absurd:?}");
        }
    }
}
