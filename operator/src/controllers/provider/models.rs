//! The models of a provider: the user's over those of the catalog.

use std::collections::BTreeMap;

use llmroute_crds::provider::{self, Model};
use llmroute_crds::{LLMProviderSpec, Money};
use llmroute_protocol as wire;

use crate::catalog::Row;
use crate::controllers::refusal::Refusal;

/// The catalog's rows, and the user's laid over those of the same name.
pub(super) fn models(
    spec: &LLMProviderSpec,
    row: &Row,
) -> Result<BTreeMap<String, wire::Model>, Refusal> {
    let mut models = row.models.clone();
    let mut seen = BTreeMap::new();
    for (index, model) in spec.models.iter().enumerate() {
        let path = || format!("spec.models[{index}]");
        if let Some(first) = seen.insert(&model.name, index) {
            let message = format!("is that of spec.models[{first}] too: give it another");
            return Err(Refusal::new(format!("{}.name", path()), message));
        }
        if model.name.is_empty() || model.upstream_name.as_ref().is_some_and(String::is_empty) {
            return Err(Refusal::new(path(), "has an empty name"));
        }
        models.insert(model.name.clone(), laid_over(model, row));
    }
    Ok(models)
}

/// What the user doesn't say is the catalog's, under the model's own name or,
/// for a name of the user's own, under the vendor's.
fn laid_over(model: &Model, row: &Row) -> wire::Model {
    let Model {
        name,
        upstream_name,
        context_tokens,
        max_output_tokens,
        price,
    } = model;
    let vendor = upstream_name.as_ref().and_then(|name| row.models.get(name));
    let base = vendor.or_else(|| row.models.get(name));
    let or_base = |own: Option<u32>, of: fn(&wire::Model) -> u64| {
        own.map_or_else(|| base.map(of).unwrap_or_default(), u64::from)
    };
    let upstream = upstream_name.clone().filter(|upstream| upstream != name);
    wire::Model {
        name: name.clone(),
        upstream_name: upstream.unwrap_or_default(),
        context_tokens: or_base(*context_tokens, |base| base.context_tokens),
        max_output_tokens: or_base(*max_output_tokens, |base| base.max_output_tokens),
        price: match price {
            Some(price) => Some(on_the_wire(price)),
            None => base.and_then(|base| base.price.clone()),
        },
    }
}

fn on_the_wire(price: &provider::Price) -> wire::Price {
    let provider::Price {
        input,
        output,
        cached_input,
        cache_write,
        cache_write_1h,
    } = price;
    let rates = wire::Rates {
        input: input.pico_usd_per_token(),
        output: output.pico_usd_per_token(),
        cached_input: cached_input.map(Money::pico_usd_per_token),
        cache_write: cache_write.map(Money::pico_usd_per_token),
        cache_write_1h: cache_write_1h.map(Money::pico_usd_per_token),
    };
    wire::Price {
        rates: Some(rates),
        ..wire::Price::default()
    }
}
