//! Prices, and the product of usage and price.

use llmroute_protocol as wire;

use super::money::PicoUsd;
use super::usage::Usage;

/// pico-USD a token, for each kind of token; every fallback already taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    input: u64,
    output: u64,
    cached: u64,
    cache_write: u64,
    cache_write_long: u64,
}

/// The rates of one service tier, by how long the input is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Schedule {
    base: Rates,
    /// Ascending by the input tokens above which they hold, for the whole request.
    above: Box<[(u64, Rates)]>,
}

/// What a model costs: compiled once, when config arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    standard: Schedule,
    service_tiers: Box<[(Box<str>, Schedule)]>,
}

/// Why a pushed price can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// A tier, or the price itself, without numbers.
    #[error("has no rates")]
    NoRates,
    /// Two tiers would hold for one request.
    #[error("tiers must ascend by their input tokens")]
    TiersNotAscending,
    /// Which of the two would be meant?
    #[error("service tier {0:?} is priced twice")]
    DuplicateServiceTier(String),
}

/// What a call costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The amount.
    pub amount: PicoUsd,
    /// The arithmetic ran out of digits: the amount is the greatest there is.
    pub saturated: bool,
}

/// What `usage` costs: as the provider itself states it, else by `price`. `None` is
/// an unknown cost, which is not a cost of zero.
pub fn charge(usage: &Usage, price: Option<&Price>, service_tier: Option<&str>) -> Option<Cost> {
    match (usage.vendor_cost, price) {
        (Some(amount), _) => Some(Cost {
            amount,
            saturated: false,
        }),
        (None, Some(price)) => Some(price.cost(usage, service_tier)),
        (None, None) => None,
    }
}

// ---------------------------------------------------------------- impl Price

impl Price {
    /// Compiles what the operator pushed.
    pub fn compile(price: &wire::Price) -> Result<Self, PriceError> {
        let wire::Price {
            rates,
            tiers,
            service_tiers,
        } = price;
        let mut compiled: Vec<(Box<str>, Schedule)> = Vec::with_capacity(service_tiers.len());
        for tier in service_tiers {
            if compiled.iter().any(|(name, _)| **name == *tier.name) {
                return Err(PriceError::DuplicateServiceTier(tier.name.clone()));
            }
            let schedule = Schedule::compile(tier.rates.as_ref(), &tier.tiers)?;
            compiled.push((tier.name.as_str().into(), schedule));
        }
        Ok(Self {
            standard: Schedule::compile(rates.as_ref(), tiers)?,
            service_tiers: compiled.into(),
        })
    }

    /// What `usage` costs at the service tier that the answer named. One that has
    /// no price of its own costs the standard one.
    pub fn cost(&self, usage: &Usage, service_tier: Option<&str>) -> Cost {
        let schedule = service_tier
            .and_then(|named| self.service_tiers.iter().find(|(name, _)| **name == *named))
            .map_or(&self.standard, |(_, schedule)| schedule);
        schedule.rates(usage.total_input()).cost(usage)
    }
}

// ---------------------------------------------------------------- impl Schedule

impl Schedule {
    fn compile(base: Option<&wire::Rates>, tiers: &[wire::PriceTier]) -> Result<Self, PriceError> {
        let base = Rates::compile(base)?;
        let above = tiers
            .iter()
            .map(|tier| {
                Ok((
                    tier.above_input_tokens,
                    Rates::compile(tier.rates.as_ref())?,
                ))
            })
            .collect::<Result<Box<[_]>, _>>()?;
        if above.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(PriceError::TiersNotAscending);
        }
        Ok(Self { base, above })
    }

    fn rates(&self, total_input: u64) -> &Rates {
        self.above
            .iter()
            .rev()
            .find(|(above, _)| total_input > *above)
            .map_or(&self.base, |(_, rates)| rates)
    }
}

// ---------------------------------------------------------------- impl Rates

impl Rates {
    fn compile(rates: Option<&wire::Rates>) -> Result<Self, PriceError> {
        let wire::Rates {
            input,
            output,
            cached_input,
            cache_write,
            cache_write_1h,
        } = *rates.ok_or(PriceError::NoRates)?;
        Ok(Self {
            input,
            output,
            cached: cached_input.unwrap_or(input),
            cache_write: cache_write.unwrap_or(input),
            // A longer life never costs less than a shorter one.
            cache_write_long: cache_write_1h.or(cache_write).unwrap_or(input),
        })
    }

    fn cost(&self, usage: &Usage) -> Cost {
        let products = [
            (usage.input, self.input),
            (usage.cached, self.cached),
            (usage.cache_write, self.cache_write),
            (usage.cache_write_long, self.cache_write_long),
            (usage.output, self.output),
        ];
        let sum = products.iter().try_fold(0_u128, |sum, &(units, rate)| {
            sum.checked_add(u128::from(units) * u128::from(rate))
        });
        Cost {
            amount: PicoUsd(sum.unwrap_or(u128::MAX)),
            saturated: sum.is_none(),
        }
    }
}
