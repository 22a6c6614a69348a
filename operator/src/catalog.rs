//! The providers that the operator knows by name: data of `operator/catalog/*.yaml`,
//! compiled in. A row says how a host is reached, how it wants to be asked, and
//! what its models cost. A new OpenAI-compatible host is a new file here, and
//! nothing in the sidecar.
//!
//! It decides nothing: `controllers::provider` lays a user's `spec` over a row.

mod file;
mod nearest;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use llmroute_protocol::{Dialect, Model, Quirk};

pub use file::CatalogError;
pub use nearest::nearest;

/// Every file of the catalog.
const FILES: [&str; 12] = [
    include_str!("../catalog/custom.yaml"),
    include_str!("../catalog/deepseek.yaml"),
    include_str!("../catalog/fireworks.yaml"),
    include_str!("../catalog/groq.yaml"),
    include_str!("../catalog/mistral.yaml"),
    include_str!("../catalog/mock.yaml"),
    include_str!("../catalog/ollama.yaml"),
    include_str!("../catalog/openai.yaml"),
    include_str!("../catalog/openrouter.yaml"),
    include_str!("../catalog/together.yaml"),
    include_str!("../catalog/vllm.yaml"),
    include_str!("../catalog/xai.yaml"),
];

static BUILT_IN: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::parse(FILES).expect("a test parses the built-in catalog"));

/// Rows by type.
#[derive(Debug)]
pub struct Catalog(BTreeMap<String, Row>);

/// What is known of one type of provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `spec.type`.
    pub name: String,
    /// `None` for `custom`: the user says it.
    pub dialect: Option<Dialect>,
    /// `None` where every account has a host of its own.
    pub base_url: Option<String>,
    /// How a credential is sent; `None` where there never is one.
    pub auth: Option<AuthStyle>,
    /// Where the host differs from its dialect.
    pub quirks: Vec<Quirk>,
    /// By name.
    pub models: BTreeMap<String, Model>,
    /// Models that aren't listed may be called too, at an unknown price.
    pub open_models: bool,
}

/// Which header carries a credential, and behind what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthStyle {
    /// Lower case.
    pub header: String,
    /// Such as `Bearer `.
    pub prefix: String,
}

// ------------------------------------------------------------ impl Catalog

impl Catalog {
    /// The one that is compiled in.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads files, each one row.
    pub fn parse<'a>(files: impl IntoIterator<Item = &'a str>) -> Result<Self, CatalogError> {
        let mut rows = BTreeMap::new();
        for text in files {
            let row = file::parse(text)?;
            if let Some(twice) = rows.insert(row.name.clone(), row) {
                return Err(CatalogError::TypeTwice(twice.name));
            }
        }
        Ok(Self(rows))
    }

    /// The row of a type.
    pub fn get(&self, name: &str) -> Option<&Row> {
        self.0.get(name)
    }

    /// All types, sorted.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> impl Iterator<Item = &'static Row> {
        Catalog::built_in().0.values()
    }

    #[test]
    fn the_catalog_has_the_types_that_the_docs_name() {
        let types: Vec<_> = Catalog::built_in().types().collect();
        let expected = [
            "custom",
            "deepseek",
            "fireworks",
            "groq",
            "mistral",
            "mock",
            "ollama",
            "openai",
            "openrouter",
            "together",
            "vllm",
            "xai",
        ];
        assert_eq!(types, expected);
    }

    #[test]
    fn a_base_url_is_https_with_no_slash_at_its_end() {
        for row in rows() {
            let Some(url) = &row.base_url else { continue };
            assert!(
                url.starts_with("https://") && !url.ends_with('/'),
                "{}: {url}",
                row.name
            );
        }
    }

    #[test]
    fn every_row_with_a_host_can_send_a_credential() {
        for row in rows().filter(|row| row.name != "mock") {
            let auth = row.auth.as_ref().expect("a style");
            assert_eq!(auth.header, auth.header.to_lowercase(), "{}", row.name);
        }
    }

    #[test]
    fn each_model_of_a_priced_host_has_a_price_that_is_not_zero() {
        for row in rows() {
            for model in row.models.values() {
                let rates = model.price.as_ref().and_then(|p| p.rates.as_ref());
                let rates = rates.expect("a listed model has a price");
                assert!(rates.input > 0, "{} {}", row.name, model.name);
            }
        }
    }

    #[test]
    fn prices_are_pico_usd_a_token_and_tiers_are_read() {
        let openai = Catalog::built_in().get("openai").expect("a row");
        let price = openai.models["gpt-4o-mini"].price.clone().expect("a price");
        let rates = price.rates.expect("rates");
        assert_eq!((rates.input, rates.output), (150_000, 600_000));
        assert_eq!(rates.cached_input, Some(75_000));
        let tiered = openai.models["gpt-5.6-sol"].price.clone().expect("a price");
        assert_eq!(tiered.tiers[0].above_input_tokens, 272_000);
        assert!(tiered.service_tiers.iter().any(|tier| tier.name == "flex"));
    }

    #[test]
    fn quirks_are_where_the_vendors_differ() {
        let quirks = |name| &Catalog::built_in().get(name).expect("a row").quirks;
        assert_eq!(quirks("mistral"), &[Quirk::NoStreamOptions]);
        assert_eq!(quirks("openrouter"), &[Quirk::CostUsd]);
        let xai = [Quirk::CostUsdTicks, Quirk::ReasoningOutsideCompletion];
        assert_eq!(quirks("xai"), &xai);
        assert!(quirks("openai").is_empty());
    }

    #[test]
    fn a_type_that_stands_in_two_files_is_refused() {
        let error = Catalog::parse(["type: a", "type: a"]).expect_err("refused");
        assert_eq!(error.to_string(), "type a stands in two files");
    }
}
