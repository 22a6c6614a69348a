//! Money in units that never need rounding.

use std::fmt;

use http::HeaderValue;

/// 10⁻¹² USD. A price of one micro-USD per million tokens is one of these a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PicoUsd(pub u128);

/// pico-USD in a micro-USD.
const PICO_PER_MICRO: u128 = 1_000_000;
/// micro-USD in a USD.
const MICRO_PER_USD: u128 = 1_000_000;
/// The power of ten between a pico-USD and a USD.
const PICO_DIGITS: i32 = 12;
/// A longer lexeme than this is no amount that anybody charges.
const MAX_LEXEME: usize = 64;

// ---------------------------------------------------------------- impl PicoUsd

impl PicoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Rounded half up: the only rounding that an amount ever sees.
    pub fn micro(self) -> u128 {
        self.0 / PICO_PER_MICRO + u128::from(self.0 % PICO_PER_MICRO >= PICO_PER_MICRO / 2)
    }

    /// The value of `x-llmroute-cost-usd`: USD with six decimals.
    pub fn header(self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("digits and a dot are a header value")
    }

    /// Reads a JSON number that states USD, as it stands on the wire: through a
    /// float it would lose digits. Half a unit and more below a pico-USD rounds
    /// up. `None` for a negative amount and for nonsense.
    pub fn from_usd_lexeme(lexeme: &[u8]) -> Option<Self> {
        Self::from_decimal(lexeme, PICO_DIGITS)
    }

    /// Reads a JSON number in units of 10^-`digits` USD: xAI's ticks have 10.
    pub fn from_units_lexeme(lexeme: &[u8], digits: i32) -> Option<Self> {
        Self::from_decimal(lexeme, PICO_DIGITS - digits)
    }

    fn from_decimal(lexeme: &[u8], shift: i32) -> Option<Self> {
        let Decimal { digits, exponent } = Decimal::parse(lexeme)?;
        let exponent = exponent.checked_add(shift)?;
        if exponent >= 0 {
            let scale = 10_u128.checked_pow(exponent.unsigned_abs())?;
            return digits.checked_mul(scale).map(Self);
        }
        let Some(scale) = 10_u128.checked_pow(exponent.unsigned_abs()) else {
            return Some(Self::ZERO);
        };
        Some(Self(
            digits / scale + u128::from(digits % scale >= scale.div_ceil(2)),
        ))
    }
}

/// USD with six decimals, rounded half up.
impl fmt::Display for PicoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micro = self.micro();
        write!(f, "{}.{:06}", micro / MICRO_PER_USD, micro % MICRO_PER_USD)
    }
}

/// A non-negative JSON number, exactly: `digits` · 10^`exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    pub(crate) digits: u128,
    pub(crate) exponent: i32,
}

// ---------------------------------------------------------------- impl Decimal

impl Decimal {
    /// Reads a number's lexeme. `None` where it is negative (but `-0`), too long or no number.
    pub(crate) fn parse(lexeme: &[u8]) -> Option<Self> {
        if lexeme.len() > MAX_LEXEME {
            return None;
        }
        let text = std::str::from_utf8(lexeme).ok()?;
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let mut digits = 0_u128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
            digits = digits.checked_mul(10)?.checked_add(u128::from(digit))?;
        }
        if whole.is_empty() || (negative && digits != 0) {
            return None;
        }
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Self { digits, exponent })
    }

    /// The whole number that it is, or `None`: half a token isn't one.
    pub(crate) fn integral(self) -> Option<u64> {
        let Self { digits, exponent } = self;
        if digits == 0 {
            return Some(0);
        }
        let scale = 10_u128.checked_pow(exponent.unsigned_abs())?;
        let whole = if exponent >= 0 {
            digits.checked_mul(scale)?
        } else {
            (digits % scale == 0).then_some(digits / scale)?
        };
        u64::try_from(whole).ok()
    }
}
