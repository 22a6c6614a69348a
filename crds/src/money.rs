//! Prices as a manifest writes them: an integer, or a decimal string with at
//! most six decimals. Held as an integer from the first byte on; no float ever
//! stands between.

use std::{fmt, str::FromStr};

use crate::schema::MONEY;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DECIMALS: usize = 6;
const MICROS: u64 = 1_000_000;
/// Digits before the point: far beyond any price, far below what overflows.
const MAX_WHOLE_DIGITS: usize = 7;

/// USD, exact to the micro-USD.
///
/// A price in USD per million tokens is the same number in pico-USD per token:
/// see [`Money::pico_usd_per_token`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money {
    micro_usd: u64,
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an amount: write an integer or a decimal with at most 7 digits before and 6 after the point, such as \"0.15\""
)]
pub struct MoneyError;

// --------------------------------------------------------------- impl Money

impl Money {
    /// The amount in micro-USD.
    pub fn micro_usd(self) -> u64 {
        self.micro_usd
    }

    /// USD per million tokens, read as pico-USD per token: 10⁻⁶ USD a 10⁶
    /// tokens is 10⁻¹² USD a token, so nothing rounds.
    pub fn pico_usd_per_token(self) -> u64 {
        self.micro_usd
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (whole, decimals) = match text.split_once('.') {
            Some((_, "")) => return Err(MoneyError),
            Some((whole, decimals)) => (whole, decimals),
            None => (text, ""),
        };
        if whole.is_empty() || whole.len() > MAX_WHOLE_DIGITS || decimals.len() > DECIMALS {
            return Err(MoneyError);
        }
        let digits = whole.bytes().chain(decimals.bytes()).chain(
            // To the micro: "1.5" has five decimals to go.
            std::iter::repeat_n(b'0', DECIMALS - decimals.len()),
        );
        let mut micro_usd = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(MoneyError);
            }
            micro_usd = micro_usd * 10 + u64::from(digit - b'0');
        }
        Ok(Self { micro_usd })
    }
}

impl TryFrom<u64> for Money {
    type Error = MoneyError;

    fn try_from(usd: u64) -> Result<Self, MoneyError> {
        if usd >= 10_u64.pow(7) {
            return Err(MoneyError);
        }
        Ok(Self {
            micro_usd: usd * MICROS,
        })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micros) = (self.micro_usd / MICROS, self.micro_usd % MICROS);
        if micros == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{micros:06}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Money;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a decimal string with at most 6 decimals")
            }

            fn visit_u64<E: de::Error>(self, usd: u64) -> Result<Money, E> {
                Money::try_from(usd).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, usd: i64) -> Result<Money, E> {
                let usd = u64::try_from(usd).map_err(|_| E::custom(MoneyError))?;
                self.visit_u64(usd)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Money, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Money {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The pattern and lengths are about strings, minimum and maximum about
        // integers: an unquoted 500 works, an unquoted 2.5 is refused.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": MONEY,
            "maxLength": 14,
            "minimum": 0,
            "maximum": 9_999_999,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<u64> {
        text.parse::<Money>().ok().map(Money::micro_usd)
    }

    #[test]
    fn a_decimal_is_exact_to_the_sixth_place() {
        for (text, expected) in [
            ("0", 0),
            ("500", 500_000_000),
            ("0.15", 150_000),
            ("2.500000", 2_500_000),
            ("0.000001", 1),
            ("9999999.999999", 9_999_999_999_999),
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_decimal_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "0.0000001",
            "10000000",
            "1,5",
            " 1",
            "1_0",
            "٣",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn an_integer_and_a_string_read_as_the_same_amount() {
        let read = |json: &str| {
            serde_json::from_str::<Money>(json)
                .ok()
                .map(Money::micro_usd)
        };
        assert_eq!(read("500"), Some(500_000_000));
        assert_eq!(read("\"500\""), Some(500_000_000));
        for refused in ["2.5", "-1", "10000000", "null", "true"] {
            assert_eq!(read(refused), None, "{refused}");
        }
    }

    #[test]
    fn an_amount_survives_being_written_and_read() {
        for text in ["0", "12", "0.15", "0.000001", "1234567.89"] {
            assert_eq!(text.parse::<Money>().expect("an amount").to_string(), text);
        }
    }
}
