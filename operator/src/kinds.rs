//! Whether the API server serves our kinds, with every field that we know.
//!
//! An operator newer than the CRDs would see objects without the fields that
//! it needs and take the defaults for the user's wish. So it waits, not ready,
//! and names what is missing, while the older operator serves on. Read from
//! `/openapi/v3`, which every authenticated user may; it needs no rule and
//! changes nothing.

use std::time::Duration;

use http::Request;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::Value;

use crate::admin::Readiness;
use crate::kubernetes::{CallError, call, is_not_found};

/// The name of the readiness gate.
pub const GATE: &str = "kinds";

/// While something is missing.
const ASKED_EVERY: Duration = Duration::from_secs(2);

const DOCUMENT: &str = "/openapi/v3/apis/llmroute.dev/v1alpha1";

/// A kind as this program knows it.
pub struct KnownKind {
    kind: String,
    name: String,
    schema: Value,
}

// ---------------------------------------------------------------- impl KnownKind

impl KnownKind {
    /// The kind that `crd` defines, in its newest version.
    pub fn new(crd: &CustomResourceDefinition) -> Self {
        let version = crd.spec.versions.last();
        let schema = version.and_then(|v| v.schema.as_ref()?.open_api_v3_schema.as_ref());
        Self {
            kind: crd.spec.names.kind.clone(),
            name: format!("{}.{}", crd.spec.names.plural, crd.spec.group),
            schema: serde_json::to_value(schema).expect("a schema is JSON"),
        }
    }

    /// What `served` lacks, if anything.
    fn missing(&self, served: &Value) -> Option<String> {
        let schemas = served["components"]["schemas"].as_object();
        let own = schemas.and_then(|schemas| schemas.values().find(|schema| self.is_of(schema)));
        let Some(own) = own else {
            return Some(format!("{} is not served: apply crds/", self.name));
        };
        let path = missing_field(&self.schema, own)?;
        let name = &self.name;
        Some(format!(
            "{name} has no field {path}: apply the crds/ of this version"
        ))
    }

    fn is_of(&self, schema: &Value) -> bool {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|gvk| gvk["kind"] == self.kind.as_str()))
    }
}

/// Waits until all of `kinds` are served whole.
pub async fn wait(client: &Client, kinds: &[KnownKind], readiness: &Readiness) {
    let mut said = String::new();
    loop {
        let missing = match read(client).await {
            Ok(served) => kinds.iter().find_map(|kind| kind.missing(&served)),
            Err(error) => Some(format!("the API server can't be asked: {error}")),
        };
        let Some(missing) = missing else {
            readiness.reached(GATE);
            tracing::info!("the API server serves every kind and field");
            return;
        };
        if missing != said {
            tracing::warn!(missing, "waiting for the kinds");
            said.clone_from(&missing);
        }
        readiness.wait_for(GATE, missing);
        tokio::time::sleep(ASKED_EVERY).await;
    }
}

async fn read(client: &Client) -> Result<Value, CallError> {
    let request = Request::get(DOCUMENT).body(Vec::new());
    let request = request.expect("a constant path makes a request");
    match call(client.request::<Value>(request)).await {
        Ok(document) => Ok(document),
        // The group has no kind at all.
        Err(error) if is_not_found(&error) => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// The path of the first field of `known` that `served` doesn't have.
fn missing_field(known: &Value, served: &Value) -> Option<String> {
    for inner in ["items", "additionalProperties"] {
        if known[inner].is_object()
            && let Some(path) = missing_field(&known[inner], &served[inner])
        {
            return Some(format!("[]{}", dotted(&path)));
        }
    }
    let fields = known["properties"].as_object()?;
    fields.iter().find_map(|(name, known)| {
        let served = &served["properties"][name];
        if served.is_null() {
            return Some(name.clone());
        }
        let path = missing_field(known, served)?;
        Some(format!("{name}{}", dotted(&path)))
    })
}

fn dotted(path: &str) -> String {
    if path.starts_with('[') {
        path.to_owned()
    } else {
        format!(".{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(fields: &Value) -> Value {
        json!({ "properties": { "spec": { "properties": { "rules": { "items": { "properties": fields } } } } } })
    }

    fn known() -> KnownKind {
        KnownKind {
            kind: "LLMRoute".into(),
            name: "llmroutes.llmroute.dev".into(),
            schema: schema(&json!({ "name": {}, "retry": { "properties": { "attempts": {} } } })),
        }
    }

    fn served(mut schema: Value) -> Value {
        schema["x-kubernetes-group-version-kind"] =
            json!([{ "group": "llmroute.dev", "kind": "LLMRoute" }]);
        json!({ "components": { "schemas": { "dev.llmroute.v1alpha1.LLMRoute": schema } } })
    }

    #[test]
    fn a_kind_that_is_not_served_is_named() {
        let missing = known().missing(&Value::Null).expect("missing");
        assert!(
            missing.contains("llmroutes.llmroute.dev is not served"),
            "{missing}"
        );
    }

    #[test]
    fn a_field_that_is_not_served_is_named_by_its_path() {
        let older = schema(&json!({ "name": {}, "retry": { "properties": {} } }));
        let missing = known().missing(&served(older)).expect("missing");
        assert!(missing.contains("spec.rules[].retry.attempts"), "{missing}");
    }

    #[test]
    fn further_fields_of_a_newer_kind_are_no_hindrance() {
        let retry = json!({ "properties": { "attempts": {}, "budgetPercent": {} } });
        let newer = schema(&json!({ "name": {}, "retry": retry, "transform": {} }));
        assert_eq!(known().missing(&served(newer)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_process_waits_and_goes_on_when_the_kind_appears() {
        let api = crate::fake_api::FakeApi::default();
        let readiness = Readiness::default();
        let waiting = {
            let (client, readiness) = (api.client(), readiness.clone());
            tokio::spawn(async move { wait(&client, &[known()], &readiness).await })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(readiness.missing().len(), 1, "{:?}", readiness.missing());
        api.serve(
            DOCUMENT,
            served(schema(
                &json!({ "name": {}, "retry": { "properties": { "attempts": {} } } }),
            )),
        );
        let ended = tokio::time::timeout(Duration::from_secs(10), waiting).await;
        ended.expect("goes on").expect("without a panic");
        assert_eq!(readiness.missing(), []);
    }
}
