//! The committed CRDs are what the types say. `LLMROUTE_BLESS=1 cargo test -p
//! llmroute-crds` writes them anew.

use std::{fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use serde_json::Value;

const HEAD: &str = "# Generated from crds/src: `make generate` writes it anew.\n";

fn yaml(crd: &CustomResourceDefinition) -> String {
    let mut crd = serde_json::to_value(crd).expect("a CRD is JSON");
    whole_numbers(&mut crd);
    let text = serde_yaml::to_string(&crd).expect("a CRD is YAML");
    // Quoted, or a reader of YAML 1.1 (kubectl) makes a timestamp and a boolean of them.
    let text = text
        .replace("1970-01-01T00:00:00Z", "\"1970-01-01T00:00:00Z\"")
        .replace(" on:\n", " \"on\":\n");
    format!("{HEAD}{text}")
}

/// Bounds are floats in the types of the API; all of ours are whole.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) if number.is_f64() => {
            *value = serde_json::from_str(&format!("{:.0}", number.as_f64().unwrap_or_default()))
                .expect("digits are a number");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn generated_is_current(file: &str, crd: &CustomResourceDefinition) {
    let new = yaml(crd);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("LLMROUTE_BLESS").is_some() {
        fs::write(&path, &new).expect("the folder is writable");
        return;
    }
    let old = fs::read_to_string(&path).unwrap_or_default();
    assert!(old == new, "crds/{file} is stale: run make generate");
}

#[test]
fn the_provider_crd_is_current() {
    generated_is_current("llmproviders.yaml", &llmroute_crds::provider_crd());
}

#[test]
fn the_route_crd_is_current() {
    generated_is_current("llmroutes.yaml", &llmroute_crds::route_crd());
}
