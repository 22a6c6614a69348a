//! Durations as a manifest writes them: Gateway API's grammar (GEP-2257), such
//! as `10s`, `1m30s` or `100ms`. Numbers and units, nothing negative, no
//! fractions.

use std::{fmt, str::FromStr, time};

use crate::schema::DURATION;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MAX_PAIRS: usize = 4;
const MAX_DIGITS: usize = 5;

/// A span of time in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(time::Duration);

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: write numbers with the units h, m, s or ms, such as \"1m30s\"")]
pub struct DurationError;

// ------------------------------------------------------------ impl Duration

impl Duration {
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(time::Duration::from_millis(millis))
    }

    pub(crate) const fn from_secs(secs: u64) -> Self {
        Self(time::Duration::from_secs(secs))
    }

    /// As the standard library has it.
    pub fn get(self) -> time::Duration {
        self.0
    }

    /// Whole milliseconds: the unit of the session's contract.
    pub fn as_millis(self) -> u64 {
        // Four pairs of at most 99999 h are 1.44e12 ms.
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text;
        let mut millis = 0;
        for _ in 0..MAX_PAIRS {
            let (pair, after) = pair(rest)?;
            millis += pair;
            rest = after;
            if rest.is_empty() {
                return Ok(Self::from_millis(millis));
            }
        }
        Err(DurationError)
    }
}

/// The first number-unit pair in milliseconds, and what follows it.
fn pair(text: &str) -> Result<(u64, &str), DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > MAX_DIGITS {
        return Err(DurationError);
    }
    let (number, rest) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| DurationError)?;
    // `ms` before `m`: the pattern's longest match.
    for (unit, millis) in [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if let Some(rest) = rest.strip_prefix(unit) {
            return Ok((number * millis, rest));
        }
    }
    Err(DurationError)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if millis >= size {
                write!(f, "{}{unit}", millis / size)?;
                millis %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": DURATION, "maxLength": 28 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Option<u64> {
        text.parse::<Duration>().ok().map(Duration::as_millis)
    }

    #[test]
    fn every_unit_and_their_sum_is_read() {
        for (text, expected) in [
            ("0s", 0),
            ("100ms", 100),
            ("3s", 3_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1h1m1s1ms", 3_661_001),
            ("99999h99999h99999h99999h", 1_439_985_600_000),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_the_pattern_refuses_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "100000s",
            "1s1s1s1s1s",
            "1d",
            "1 s",
            "1us",
            "٣s",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_survives_being_written_and_read() {
        for text in ["0s", "100ms", "1m30s", "1h1m1s1ms"] {
            assert_eq!(
                text.parse::<Duration>().expect("a duration").to_string(),
                text
            );
        }
    }
}
