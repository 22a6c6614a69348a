//! Each bound and CEL rule of the CRDs, tried on a real API server by the table
//! `tests/crd-cases`: what is accepted, what is refused, and that a refusal
//! names the field and the cure. A bound that the table leaves out fails here.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use futures::stream::{StreamExt, iter};
use kube::api::{DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client, ResourceExt};
use llmroute_tests::assets;
use llmroute_tests::crd_cases::{self, Case};
use llmroute_tests::prelude::*;

/// Requests at a time.
const AT_ONCE: usize = 16;

fn cases() -> Result<Vec<Case>> {
    crd_cases::load(&assets::repository().join("tests/crd-cases"))
}

#[tokio::test]
async fn each_case_is_accepted_or_refused_as_the_table_says() -> Result<()> {
    let cases = cases()?;
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("rules").await?;
    let client = cluster.client().await?;
    let tries: Vec<_> = cases
        .iter()
        .flat_map(|case| {
            let accepted = case.accepted.iter().map(move |object| (case, object, true));
            accepted.chain(case.refused.iter().map(move |object| (case, object, false)))
        })
        .collect();
    let wrong: Vec<String> = iter(tries.iter().enumerate())
        .map(|(number, (case, object, accepted))| {
            let attempt = Attempt {
                client: client.clone(),
                namespace: &namespace.name,
                name: format!("case-{number}"),
                case,
            };
            async move { attempt.judge(object, *accepted).await }
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |result| result.err().map(|e| format!("{e:#}")))
        .collect()
        .await;
    report!(
        "{} cases, {} tries, {} wrong",
        cases.len(),
        tries.len(),
        wrong.len()
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn each_bound_and_rule_of_the_committed_crds_has_a_case() -> Result<()> {
    let cases = cases()?;
    let mut missing = BTreeSet::new();
    let mut bounds = 0;
    for file in ["llmproviders.yaml", "llmroutes.yaml"] {
        let text = std::fs::read_to_string(assets::repository().join("crds").join(file))?;
        let crd: Value = serde_yaml::from_str(&text)?;
        let kind = crd["spec"]["names"]["kind"].as_str().context("no kind")?;
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut found = Vec::new();
        for part in ["spec", "status"] {
            walk(part, &schema["properties"][part], &mut found);
        }
        bounds += found.len();
        for bound in found {
            if !cases
                .iter()
                .any(|case| case.kind == kind && bound.is_tried_by(case))
            {
                missing.insert(format!("{kind} {} {}", bound.place, bound.rule));
            }
        }
    }
    report!(
        "{bounds} bounds and rules, {} without a case",
        missing.len()
    );
    ensure!(missing.is_empty(), "no case for: {missing:#?}");
    Ok(())
}

/// One object sent once.
struct Attempt<'a> {
    client: Client,
    namespace: &'a str,
    name: String,
    case: &'a Case,
}

/// One keyword of a schema.
struct Bound {
    place: String,
    rule: String,
    /// Of a CEL rule.
    message: Option<String>,
}

// ---------------------------------------------------------------- impl Attempt

impl Attempt<'_> {
    async fn judge(&self, object: &Value, accepted: bool) -> Result<()> {
        let Case {
            file, rule, field, ..
        } = self.case;
        let what = || format!("{file} {field} {rule} with {object}");
        let refusal = match self.send(object).await {
            Ok(()) => None,
            Err(kube::Error::Api(status)) => Some(status.message),
            Err(error) => return Err(error).with_context(what),
        };
        match (refusal, accepted) {
            (None, true) => Ok(()),
            (None, false) => bail!("accepted: {}", what()),
            (Some(why), true) => bail!("refused: {why}: {}", what()),
            (Some(why), false) => {
                // Of a union the API server names the whole.
                let names = why.contains(field.as_str());
                let says = self
                    .case
                    .says
                    .as_ref()
                    .is_none_or(|says| why.contains(says));
                ensure!(
                    names && says,
                    "refused in the wrong words: {why}: {}",
                    what()
                );
                Ok(())
            }
        }
    }

    async fn send(&self, object: &Value) -> kube::Result<()> {
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let wet = PostParams::default();
        let api = self.api();
        let new = self.object(object);
        if let Some(from) = &self.case.from {
            let mut old = api.create(&wet, &self.object(from)).await?;
            old.data = new.data;
            api.replace(&self.name, &dry, &old).await?;
        } else if object.get("status").is_some() {
            let mut old = api.create(&wet, &new).await?;
            old.data["status"] = new.data["status"].clone();
            api.replace_subresource("status", &self.name, &dry, &old)
                .await?;
        } else {
            api.create(&dry, &new).await?;
        }
        Ok(())
    }

    fn api(&self) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk("llmroute.dev", "v1alpha1", &self.case.kind);
        let resource = ApiResource::from_gvk(&gvk);
        Api::namespaced_with(self.client.clone(), self.namespace, &resource)
    }

    fn object(&self, value: &Value) -> DynamicObject {
        let mut object: DynamicObject =
            serde_json::from_value(value.clone()).expect("a case is an object");
        object.metadata.name = Some(self.name.clone());
        debug_assert_eq!(object.name_any(), self.name);
        object
    }
}

// ---------------------------------------------------------------- impl Bound

impl Bound {
    fn is_tried_by(&self, case: &Case) -> bool {
        case.place == self.place
            && case.rule == self.rule
            && match (&self.message, &case.says) {
                (Some(message), Some(says)) => message.contains(says.as_str()),
                (None, None) => true,
                _ => false,
            }
    }
}

/// Every bound at `place` and below it.
fn walk(place: &str, schema: &Value, found: &mut Vec<Bound>) {
    let mut bound = |place: &str, rule: &str, message: Option<String>| {
        found.push(Bound {
            place: place.to_owned(),
            rule: rule.to_owned(),
            message,
        });
    };
    let keywords = [
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "maxProperties",
        "minProperties",
        "maximum",
        "minimum",
        "enum",
    ];
    for keyword in keywords {
        if !schema[keyword].is_null() {
            bound(place, keyword, None);
        }
    }
    if matches!(
        schema["x-kubernetes-list-type"].as_str(),
        Some("set" | "map")
    ) {
        bound(place, "unique", None);
    }
    if schema["x-kubernetes-int-or-string"] == true {
        bound(place, "int-or-string", None);
    }
    for member in schema["required"].as_array().into_iter().flatten() {
        let member = member.as_str().unwrap_or_default();
        bound(&format!("{place}.{member}"), "required", None);
    }
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let mut message = String::new();
        for part in ["message", "messageExpression"] {
            let _ = write!(message, "{} ", rule[part].as_str().unwrap_or_default());
        }
        bound(place, "cel", Some(message));
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        // An unquoted `on` is `true` to YAML: a member that only exists to be refused.
        if name != "true" {
            walk(&format!("{place}.{name}"), member, found);
        }
    }
    if schema["items"].is_object() {
        walk(&format!("{place}[]"), &schema["items"], found);
    }
    if schema["additionalProperties"].is_object() {
        walk(
            &format!("{place}{{}}"),
            &schema["additionalProperties"],
            found,
        );
    }
}
