//! Tokens from bytes, for calls whose usage never came.
//!
//! The ratio of tokens to bytes is learned for each model from calls that did
//! report usage, apart for input and output. Estimated calls teach it nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Tokens per 1000 bytes before anything was learned: 0.30 a byte.
pub const COLD_TOKENS_PER_1000_BYTES: u64 = 300;

/// Models whose ratio is remembered. More than a pod calls; the bound is there
/// because names of open models come from outside.
const MAX_MODELS: usize = 512;
/// Calls with fewer bytes say more about framing than about the model.
const MIN_BYTES: u64 = 64;
/// A new observation counts for 1/8: some tens of calls forget the cold start.
const WEIGHT_SHIFT: u32 = 3;
/// Binary digits behind the point of a ratio.
const FRACTION_BITS: u32 = 20;
/// A token has at least a quarter of a byte and at most 64 KiB, or the report is wrong.
const MAX_RATIO: u64 = 4 << FRACTION_BITS;
const MIN_RATIO: u64 = 1 << (FRACTION_BITS - 16);

/// Shared by all calls of a sidecar.
#[derive(Debug, Default)]
pub struct Estimator {
    models: Mutex<HashMap<Box<str>, Ratios>>,
}

/// Tokens a byte, in units of 2^-[`FRACTION_BITS`].
#[derive(Clone, Copy, Debug)]
struct Ratios {
    input: u64,
    output: u64,
}

// ---------------------------------------------------------------- impl Estimator

impl Estimator {
    /// Takes a reported usage: so many bytes were so many tokens.
    pub fn learn(&self, model: &str, input: (u64, u64), output: (u64, u64)) {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if !models.contains_key(model) {
            if models.len() >= MAX_MODELS {
                // Which one goes matters little: it is learned again in some calls.
                let Some(any) = models.keys().next().cloned() else {
                    return;
                };
                models.remove(&any);
            }
            models.insert(model.into(), Ratios::default());
        }
        if let Some(ratios) = models.get_mut(model) {
            ratios.input = toward(ratios.input, input);
            ratios.output = toward(ratios.output, output);
        }
    }

    /// Tokens of (input, output) for so many bytes. Never 0 for something.
    pub fn estimate(&self, model: &str, input_bytes: u64, output_bytes: u64) -> (u64, u64) {
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let ratios = models.get(model).copied().unwrap_or_default();
        (
            tokens(input_bytes, ratios.input),
            tokens(output_bytes, ratios.output),
        )
    }

    #[cfg(test)]
    pub(super) fn models(&self) -> usize {
        self.models.lock().map_or(0, |models| models.len())
    }
}

// ---------------------------------------------------------------- impl Ratios

impl Default for Ratios {
    fn default() -> Self {
        let cold = (COLD_TOKENS_PER_1000_BYTES << FRACTION_BITS) / 1000;
        Self {
            input: cold,
            output: cold,
        }
    }
}

fn toward(ratio: u64, (bytes, tokens): (u64, u64)) -> u64 {
    if bytes < MIN_BYTES || tokens == 0 {
        return ratio;
    }
    let seen = (u128::from(tokens) << FRACTION_BITS) / u128::from(bytes);
    let seen = u64::try_from(seen)
        .unwrap_or(MAX_RATIO)
        .clamp(MIN_RATIO, MAX_RATIO);
    if seen >= ratio {
        ratio + ((seen - ratio) >> WEIGHT_SHIFT)
    } else {
        ratio - ((ratio - seen) >> WEIGHT_SHIFT)
    }
}

fn tokens(bytes: u64, ratio: u64) -> u64 {
    let product = u128::from(bytes) * u128::from(ratio);
    u64::try_from(product.div_ceil(1 << FRACTION_BITS)).unwrap_or(u64::MAX)
}
