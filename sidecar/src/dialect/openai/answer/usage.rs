//! A provider's usage object, and the normal form that is made of it.

use llmroute_protocol::Quirk;

use super::name::Name;
use crate::dialect::json::Scalar;
use crate::dialect::openai::Operation;
use crate::meter::{Decimal, PicoUsd, Quality, Usage};

/// A tick of `cost_in_usd_ticks` is 10^-10 USD.
const TICK_DIGITS: i32 = 10;

/// The members of a usage object, as they stood there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reported {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    reasoning: Option<u64>,
    /// In the details of the prompt, where OpenAI has it.
    cached: Option<u64>,
    /// Elsewhere: beside the totals, under three names.
    cached_aside: Option<u64>,
    cache_miss: Option<u64>,
    cache_write: Option<u64>,
    written_short: Option<u64>,
    written_long: Option<u64>,
    cost: Option<PicoUsd>,
    ticks: Option<PicoUsd>,
    /// A count that isn't a count.
    nonsense: bool,
}

// ---------------------------------------------------------------- impl Reported

impl Reported {
    /// Takes a number at `path`, which begins below the usage object.
    pub(super) fn take(&mut self, path: &[Name], value: Scalar<'_>) {
        let Scalar::Number(digits) = value else {
            return;
        };
        let slot = match path {
            [Name::Cost] => {
                self.cost = PicoUsd::from_usd_lexeme(digits);
                return;
            }
            [Name::Ticks] => {
                self.ticks = PicoUsd::from_units_lexeme(digits, TICK_DIGITS);
                return;
            }
            [Name::Prompt] => &mut self.prompt,
            [Name::Completion] => &mut self.completion,
            [Name::Total] => &mut self.total,
            [Name::CacheHit | Name::NumCached | Name::Cached] => &mut self.cached_aside,
            [Name::CacheMiss] => &mut self.cache_miss,
            [Name::PromptDetails, Name::Cached] => &mut self.cached,
            [Name::PromptDetails, Name::CacheWrite] => &mut self.cache_write,
            [Name::PromptDetails, Name::CacheWriteSplit, Name::Ttl30m] => &mut self.written_short,
            [Name::PromptDetails, Name::CacheWriteSplit, Name::Ttl12h] => &mut self.written_long,
            [Name::CompletionDetails, Name::Reasoning] => &mut self.reasoning,
            _ => return,
        };
        match Decimal::parse(digits).and_then(Decimal::integral) {
            Some(count) => *slot = Some(count),
            None => self.nonsense = true,
        }
    }

    /// The normal form. `None` where too little was said to charge by: a prompt of
    /// no tokens, or a call that answers in text without a count of it.
    pub(super) fn normal(&self, operation: Operation, quirks: &[Quirk]) -> Option<Usage> {
        let vendor_cost = self.vendor_cost(quirks);
        let Some((prompt, completion)) = self.totals(operation) else {
            return vendor_cost.map(|_| Usage {
                vendor_cost,
                ..Usage::estimated(self.prompt.unwrap_or(0), self.completion.unwrap_or(0))
            });
        };
        let mut wrong = self.nonsense;
        let mut minus = |from: u64, what: u64| {
            wrong |= what > from;
            from.saturating_sub(what)
        };
        let cached = self.cached.or(self.cached_aside).unwrap_or(0);
        let cache_write_long = self.written_long.unwrap_or(0);
        let cache_write = match (self.cache_write, self.written_short) {
            (Some(all), _) => minus(all, cache_write_long),
            (None, short) => short.unwrap_or(0),
        };
        let unread = match self.cache_miss {
            Some(miss) => miss,
            None => minus(prompt, cached),
        };
        let unwritten = minus(unread, cache_write);
        let input = minus(unwritten, cache_write_long);
        let output = match self.total.filter(|_| operation != Operation::Embeddings) {
            // The total is what the vendor stands by: a gap is reasoning that it
            // bills as output but doesn't count as completion. That is also what
            // `QUIRK_REASONING_OUTSIDE_COMPLETION` says: "may", so it is tested.
            Some(total) => {
                completion.saturating_add(minus(total, prompt.saturating_add(completion)))
            }
            None => completion,
        };
        let reasoning = self.reasoning.unwrap_or(output - completion);
        Some(Usage {
            input,
            cached,
            cache_write,
            cache_write_long,
            output,
            // More reasoning than output is a known oddity of one host.
            reasoning: reasoning.min(output),
            vendor_cost,
            quality: if wrong {
                Quality::Estimated
            } else {
                Quality::Exact
            },
        })
    }

    /// Prompt and completion, where they are said or follow from what is.
    fn totals(&self, operation: Operation) -> Option<(u64, u64)> {
        let answers = operation != Operation::Embeddings;
        let (prompt, completion) = match (self.prompt, self.completion, self.total) {
            (Some(prompt), Some(completion), _) => (prompt, completion),
            (Some(prompt), None, _) if !answers => (prompt, 0),
            (Some(prompt), None, Some(total)) => (prompt, total.checked_sub(prompt)?),
            (None, completion, Some(total)) if !answers => {
                let completion = completion.unwrap_or(0);
                (total.checked_sub(completion)?, completion)
            }
            (None, Some(completion), Some(total)) => (total.checked_sub(completion)?, completion),
            _ => return None,
        };
        // Some hosts send zeros until the last chunk, and some send only zeros.
        (prompt > 0 || completion > 0).then_some((prompt, completion))
    }

    fn vendor_cost(&self, quirks: &[Quirk]) -> Option<PicoUsd> {
        let by = |quirk, cost: Option<PicoUsd>| cost.filter(|_| quirks.contains(&quirk));
        by(Quirk::CostUsd, self.cost).or(by(Quirk::CostUsdTicks, self.ticks))
    }
}
