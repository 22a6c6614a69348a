//! Manifests of a provider and a route, as short as a user may write them.

use std::fmt::Write as _;

/// An LLMProvider of the type `custom` at `base_url`, with the key of Secret `secret` where it is given.
pub fn provider(name: &str, base_url: &str, secret: Option<&str>) -> String {
    let auth = secret.map_or("{type: None}".to_owned(), |secret| {
        format!("{{type: SecretRef, secretRef: {{name: {secret}}}}}")
    });
    format!(
        "apiVersion: llmroute.dev/v1alpha1
kind: LLMProvider
metadata:
  name: {name}
spec:
  type: custom
  dialect: OpenAI
  endpoint:
    baseURL: {base_url}
  auth: {auth}
  models:
    - name: m
      price: {{input: 1, output: 2}}
---
"
    )
}

/// An LLMProvider of the type `mock`.
pub fn mock(name: &str) -> String {
    format!(
        "apiVersion: llmroute.dev/v1alpha1
kind: LLMProvider
metadata:
  name: {name}
spec:
  type: mock
---
"
    )
}

/// An LLMRoute for pods with the label `app`, from requested models to one target each.
pub fn route(name: &str, app: &str, rules: &[(&str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata:
  name: {name}
spec:
  workloadSelector:
    matchLabels:
      app: {app}
  rules:
"
    );
    for (index, (model, target)) in rules.iter().enumerate() {
        let _ = write!(
            text,
            "    - name: rule-{index}
      matches:
        - models: [{model:?}]
      targets:
        - {target}
"
        );
    }
    text.push_str("---\n");
    text
}

/// A target at `provider` that asks it for `model`.
pub fn target(provider: &str, model: &str) -> String {
    format!("{{providerRef: {{name: {provider}}}, model: {model}}}")
}
