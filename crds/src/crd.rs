//! The two CRDs, finished: what the derive can't say is added here.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{LLMProvider, LLMRoute, condition, pending};

/// The API group of every kind.
pub const GROUP: &str = "llmroute.dev";
/// The one version that is served.
pub const VERSION: &str = "v1alpha1";
/// Who owns the status fields in server-side apply.
pub const FIELD_MANAGER: &str = "llmroute";

/// The CRD of `LLMProvider`, as committed in `llmproviders.yaml`.
pub fn provider_crd() -> CustomResourceDefinition {
    finish(LLMProvider::crd(), &condition::OF_PROVIDER)
}

/// The CRD of `LLMRoute`, as committed in `llmroutes.yaml`.
pub fn route_crd() -> CustomResourceDefinition {
    finish(LLMRoute::crd(), &condition::OF_ROUTE)
}

fn finish(mut crd: CustomResourceDefinition, conditions: &[&str]) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut());
        let schema = schema.expect("the derive gives every version a schema");
        plain(schema);
        let status = schema.properties.as_mut().and_then(|p| p.get_mut("status"));
        let status = status.expect("the derive gives every kind a status");
        status.default = Some(JSON(pending(conditions)));
    }
    crd
}

/// Takes out what the derive says and an API server doesn't want: `null` is an
/// absent field, which a default then fills in; formats of Rust's integers are
/// unknown to it.
fn plain(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if !matches!(
        schema.format.as_deref(),
        Some("int32" | "int64" | "date-time")
    ) {
        schema.format = None;
    }
    schema
        .properties
        .iter_mut()
        .flat_map(|p| p.values_mut())
        .for_each(plain);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => plain(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(plain),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        plain(values);
    }
}
