//! What a call used, and what that costs.
//!
//! Usage in its normal form, prices per token, and the product of the two in
//! integer pico-USD: no float, no rounding but the one on the way into a
//! header. A streamed and an unstreamed call with the same usage have the same
//! cost to the unit. An unknown price stays unknown: it never becomes zero.
//! This room reads no wire format (a dialect does) and keeps no accounts (the
//! budgets do).

mod estimate;
mod money;
mod price;
mod usage;

pub use estimate::{COLD_TOKENS_PER_1000_BYTES, Estimator};
pub(crate) use money::Decimal;
pub use money::PicoUsd;
pub use price::{Cost, Price, PriceError, charge};
pub use usage::{Quality, Usage};

#[cfg(test)]
mod tests;
