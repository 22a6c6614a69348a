//! One file of the catalog, as it is written, and its way into a [`Row`].

use std::collections::BTreeMap;

use llmroute_crds::Money;
use llmroute_protocol as wire;
use serde::Deserialize;

use super::{AuthStyle, Row};

/// Why a text is no file of the catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Not YAML, or not of this shape.
    #[error("not a catalog file")]
    Malformed(#[source] serde_yaml::Error),
    /// Two files say the same type.
    #[error("type {0} stands in two files")]
    TypeTwice(String),
    /// A list that is easy to read has an order.
    #[error("type {type_}: model {model} stands twice or out of order")]
    Order {
        /// Of which file.
        type_: String,
        /// The second of the two.
        model: String,
    },
    /// A tier at or below the one before it can't apply.
    #[error("type {type_}: tiers of {model} don't ascend")]
    Tiers {
        /// Of which file.
        type_: String,
        /// Of which model.
        model: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(rename = "type")]
    type_: String,
    dialect: Option<Dialect>,
    #[serde(rename = "baseURL")]
    base_url: Option<String>,
    auth: Option<Auth>,
    #[serde(default)]
    quirks: Vec<Quirk>,
    #[serde(default)]
    open_models: bool,
    #[serde(default)]
    models: Vec<Model>,
}

#[derive(Clone, Copy, Deserialize)]
enum Dialect {
    OpenAI,
    Mock,
}

#[derive(Clone, Copy, Deserialize)]
enum Quirk {
    NoStreamOptions,
    #[serde(rename = "CostUSD")]
    CostUsd,
    #[serde(rename = "CostUSDTicks")]
    CostUsdTicks,
    ReasoningOutsideCompletion,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    header: String,
    prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Model {
    name: String,
    #[serde(default)]
    context_tokens: u64,
    #[serde(default)]
    max_output_tokens: u64,
    price: Option<Price>,
}

// `flatten` and `deny_unknown_fields` exclude each other, hence the fields thrice.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Price {
    input: Money,
    output: Money,
    cached_input: Option<Money>,
    cache_write: Option<Money>,
    #[serde(rename = "cacheWrite1h")]
    cache_write_1h: Option<Money>,
    #[serde(default)]
    tiers: Vec<Tier>,
    #[serde(default)]
    service_tiers: Vec<ServiceTier>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tier {
    above_input_tokens: u64,
    input: Money,
    output: Money,
    cached_input: Option<Money>,
    cache_write: Option<Money>,
    #[serde(rename = "cacheWrite1h")]
    cache_write_1h: Option<Money>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceTier {
    name: String,
    input: Money,
    output: Money,
    cached_input: Option<Money>,
    cache_write: Option<Money>,
    #[serde(rename = "cacheWrite1h")]
    cache_write_1h: Option<Money>,
    #[serde(default)]
    tiers: Vec<Tier>,
}

/// Five prices in the order of the file: input, output, cached, write, write for an hour.
type Five = (Money, Money, Option<Money>, Option<Money>, Option<Money>);

/// Reads one file.
pub(super) fn parse(text: &str) -> Result<Row, CatalogError> {
    let File {
        type_,
        dialect,
        base_url,
        auth,
        quirks,
        open_models,
        models,
    } = serde_yaml::from_str(text).map_err(CatalogError::Malformed)?;
    let models = models_by_name(&type_, models)?;
    Ok(Row {
        name: type_,
        dialect: dialect.map(Dialect::on_the_wire),
        base_url,
        auth: auth.map(|Auth { header, prefix }| AuthStyle { header, prefix }),
        quirks: quirks.into_iter().map(Quirk::on_the_wire).collect(),
        models,
        open_models,
    })
}

fn models_by_name(
    type_: &str,
    models: Vec<Model>,
) -> Result<BTreeMap<String, wire::Model>, CatalogError> {
    if let Some(pair) = models.windows(2).find(|pair| pair[0].name >= pair[1].name) {
        return Err(CatalogError::Order {
            type_: type_.to_owned(),
            model: pair[1].name.clone(),
        });
    }
    let models = models.into_iter().map(|model| {
        if !model.price.as_ref().is_none_or(Price::ascends) {
            return Err(CatalogError::Tiers {
                type_: type_.to_owned(),
                model: model.name,
            });
        }
        Ok((model.name.clone(), model.on_the_wire()))
    });
    models.collect()
}

fn rates((input, output, cached_input, cache_write, cache_write_1h): Five) -> wire::Rates {
    wire::Rates {
        input: input.pico_usd_per_token(),
        output: output.pico_usd_per_token(),
        cached_input: cached_input.map(Money::pico_usd_per_token),
        cache_write: cache_write.map(Money::pico_usd_per_token),
        cache_write_1h: cache_write_1h.map(Money::pico_usd_per_token),
    }
}

fn tiers(tiers: Vec<Tier>) -> Vec<wire::PriceTier> {
    let tiers = tiers.into_iter().map(|t| wire::PriceTier {
        above_input_tokens: t.above_input_tokens,
        rates: Some(rates((
            t.input,
            t.output,
            t.cached_input,
            t.cache_write,
            t.cache_write_1h,
        ))),
    });
    tiers.collect()
}

fn ascending(tiers: &[Tier]) -> bool {
    let mut pairs = tiers.windows(2);
    pairs.all(|pair| pair[0].above_input_tokens < pair[1].above_input_tokens)
}

// -------------------------------------------------------------- impl Price

impl Price {
    fn ascends(&self) -> bool {
        ascending(&self.tiers) && self.service_tiers.iter().all(|s| ascending(&s.tiers))
    }

    fn on_the_wire(self) -> wire::Price {
        let service_tiers = self
            .service_tiers
            .into_iter()
            .map(|s| wire::ServiceTierPrice {
                name: s.name,
                rates: Some(rates((
                    s.input,
                    s.output,
                    s.cached_input,
                    s.cache_write,
                    s.cache_write_1h,
                ))),
                tiers: tiers(s.tiers),
            });
        wire::Price {
            service_tiers: service_tiers.collect(),
            rates: Some(rates((
                self.input,
                self.output,
                self.cached_input,
                self.cache_write,
                self.cache_write_1h,
            ))),
            tiers: tiers(self.tiers),
        }
    }
}

// -------------------------------------------------------------- impl Model

impl Model {
    fn on_the_wire(self) -> wire::Model {
        wire::Model {
            name: self.name,
            upstream_name: String::new(),
            context_tokens: self.context_tokens,
            max_output_tokens: self.max_output_tokens,
            price: self.price.map(Price::on_the_wire),
        }
    }
}

// ----------------------------------------------------- impl Dialect, Quirk

impl Dialect {
    fn on_the_wire(self) -> wire::Dialect {
        match self {
            Self::OpenAI => wire::Dialect::Openai,
            Self::Mock => wire::Dialect::Mock,
        }
    }
}

impl Quirk {
    fn on_the_wire(self) -> wire::Quirk {
        match self {
            Self::NoStreamOptions => wire::Quirk::NoStreamOptions,
            Self::CostUsd => wire::Quirk::CostUsd,
            Self::CostUsdTicks => wire::Quirk::CostUsdTicks,
            Self::ReasoningOutsideCompletion => wire::Quirk::ReasoningOutsideCompletion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_stand_in_order_and_once() {
        for names in ["b, a", "a, a"] {
            let models: Vec<_> = names.split(", ").map(|n| format!("- name: {n}")).collect();
            let error = parse(&format!("type: x\nmodels:\n{}", models.join("\n")));
            assert!(
                matches!(error, Err(CatalogError::Order { .. })),
                "{names}: {error:?}"
            );
        }
    }

    #[test]
    fn tiers_ascend() {
        let tier = |n| format!("{{aboveInputTokens: {n}, input: 2, output: 2}}");
        let file = |a, b| {
            let tiers = [tier(a), tier(b)].join(", ");
            format!(
                "type: x\nmodels: [{{name: m, price: {{input: 1, output: 1, tiers: [{tiers}]}}}}]"
            )
        };
        assert!(parse(&file(1, 2)).is_ok());
        assert!(matches!(
            parse(&file(2, 2)),
            Err(CatalogError::Tiers { .. })
        ));
    }

    #[test]
    fn a_misspelt_member_is_refused_rather_than_ignored() {
        let error = parse("type: x\nmodels: [{name: m, price: {input: 1, output: 1, cached: 1}}]");
        assert!(
            matches!(error, Err(CatalogError::Malformed(_))),
            "{error:?}"
        );
    }
}
