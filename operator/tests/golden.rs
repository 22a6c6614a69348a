//! The pure middle over folders of manifests: `tests/golden/<case>/in.yaml` goes
//! in, resources and statuses come out and must be what `out.yaml` says.
//!
//! `LLMROUTE_BLESS=1 cargo test -p llmroute-operator --test golden` rewrites
//! them; read the diff. A document of kind `Facts` says what only a running
//! system knows: what sidecars answered, and the operator's flags.

#[path = "support/input.rs"]
mod input;
#[path = "support/render.rs"]
mod render;

use std::fs;
use std::path::{Path, PathBuf};

use input::Input;
use jiff::Timestamp;
use llmroute_operator::controllers::Engine;
use llmroute_operator::world::{Change, ObjectRef};
use serde_json::{Map, Value, json};

const HEADER: &str =
    "# Written by `LLMROUTE_BLESS=1 cargo test -p llmroute-operator --test golden`.\n";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().expect("a time")
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(root).expect("the folder of cases");
    let cases = entries.map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<_> = cases.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

fn read(case: &Path) -> Input {
    let text = fs::read_to_string(case.join("in.yaml")).expect("in.yaml");
    Input::parse(&text)
}

/// Everything that can be seen from outside, in a form that reads well.
fn out(input: &Input, changes: impl Iterator<Item = Change>) -> Value {
    let mut engine = Engine::new(input.options.clone());
    for change in changes {
        engine.apply(change);
    }
    json!({
        "statuses": statuses(input, &engine),
        "pods": pods(&engine),
        "resources": resources(&engine),
    })
}

fn statuses(input: &Input, engine: &Engine) -> Map<String, Value> {
    let mut all = Map::new();
    for id in engine.world().providers.keys() {
        let facts = input.credential(id);
        let status = engine.provider_status(id, None, &facts, now());
        let status = render::status(status.expect("it is there"));
        all.insert(format!("LLMProvider {id}"), status);
    }
    for id in engine.world().routes.keys() {
        let facts = input.dataplane(id);
        let status = engine.route_status(id, None, &facts, now());
        let status = render::status(status.expect("it is there"));
        all.insert(format!("LLMRoute {id}"), status);
    }
    all
}

fn pods(engine: &Engine) -> Map<String, Value> {
    let built = engine.built();
    let pods = engine.world().pods.values().map(|pod| {
        let config = built.for_pod(pod);
        let names: Vec<_> = config.resources.keys().map(render::key).collect();
        (pod.id().to_string(), json!(names))
    });
    pods.collect()
}

/// What is pushed to a pod that sees every route, whether there is one or not.
fn resources(engine: &Engine) -> Map<String, Value> {
    let built = engine.built();
    let mut all = Map::new();
    for id in engine.world().routes.keys() {
        for resource in input::everything(&built, engine, id) {
            let (name, body) = render::resource(&resource);
            all.insert(name, body);
        }
    }
    all
}

fn yaml(value: &Value) -> String {
    let text = serde_yaml::to_string(value).expect("it has only texts for keys");
    format!("{HEADER}{text}")
}

#[test]
fn each_case_gives_what_is_written_beside_it() {
    let bless = std::env::var_os("LLMROUTE_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let input = read(&case);
        let actual = yaml(&out(&input, input.changes.iter().cloned()));
        let file = case.join("out.yaml");
        if bless {
            fs::write(&file, &actual).expect("out.yaml can be written");
            continue;
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if actual != expected {
            let differs = expected.lines().zip(actual.lines()).find(|(e, a)| e != a);
            wrong.push(format!("{}: {differs:?}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "not as written:\n{}", wrong.join("\n"));
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    for case in cases() {
        let input = read(&case);
        let forward = out(&input, input.changes.iter().cloned());
        let backward = out(&input, input.changes.iter().rev().cloned());
        assert_eq!(yaml(&forward), yaml(&backward), "{}", case.display());
    }
}

#[test]
fn hearing_everything_twice_has_no_effects() {
    for case in cases() {
        let input = read(&case);
        let mut engine = Engine::new(input.options.clone());
        for change in &input.changes {
            engine.apply(change.clone());
        }
        for change in &input.changes {
            let effects = engine.apply(change.clone());
            assert!(
                effects.is_empty(),
                "{}: {change:?}: {effects:?}",
                case.display()
            );
        }
    }
}

#[test]
fn what_comes_and_goes_leaves_nothing() {
    for case in cases() {
        let input = read(&case);
        let mut engine = Engine::new(input.options.clone());
        for change in &input.changes {
            engine.apply(change.clone());
        }
        for gone in input.changes.iter().filter_map(input::gone) {
            engine.apply(gone);
        }
        let (built, world) = (engine.built(), engine.world());
        assert!(world.routes.is_empty() && world.providers.is_empty());
        for change in &input.changes {
            if let Change::Pod(pod) = change {
                assert!(
                    built.for_pod(pod).resources.is_empty(),
                    "{}",
                    case.display()
                );
            }
        }
        assert!(engine.config_maps().is_empty(), "{}", case.display());
    }
}

#[test]
fn no_golden_file_shows_a_secret() {
    let mut seen = 0;
    for case in cases() {
        let input = read(&case);
        let text = fs::read_to_string(case.join("out.yaml")).unwrap_or_default();
        for secret in &input.secrets {
            seen += 1;
            assert!(
                !text.contains(secret.trim()),
                "{} shows a secret",
                case.display()
            );
        }
    }
    assert!(seen > 0, "no case has a Secret");
}

#[test]
fn no_condition_of_any_case_is_of_1970() {
    for case in cases() {
        let text = fs::read_to_string(case.join("out.yaml")).unwrap_or_default();
        assert!(!text.contains("1970-"), "{}", case.display());
    }
    assert!(cases().len() >= 25, "{} cases", cases().len());
}

#[test]
fn an_object_reference_is_read_as_it_is_written() {
    let id = ObjectRef::new("shop", "chat");
    assert_eq!(ObjectRef::parse(&id.to_string()), Some(id));
}
