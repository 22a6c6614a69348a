//! What a folder holds through edits, good and bad.

use super::*;

const ROUTE: &str = "
apiVersion: llmroute.dev/v1alpha1
kind: LLMRoute
metadata: {name: chat}
spec: {rules: [{name: a, targets: [{providerRef: {name: p}}]}]}
";

struct Trial {
    dir: tempfile::TempDir,
    folder: Folder,
}

impl Trial {
    fn new(environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let environment = environment
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let schemas = Schemas::new().expect("the CRDs compile");
        let folder = Folder::new(dir.path(), "default".to_owned(), environment, schemas);
        Self { dir, folder }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).expect("written");
    }

    /// The problems, as texts.
    fn reload(&mut self) -> Vec<String> {
        let problems = self.folder.reload(1_000);
        problems
            .into_iter()
            .map(|p| format!("{}: {}: {}", p.file, p.object, p.message))
            .collect()
    }

    fn keys(&self) -> Vec<String> {
        self.folder
            .objects()
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    fn route(&self) -> &Object {
        let route = |(key, _): &(&ObjectKey, &Object)| key.kind == Kind::Route;
        self.folder.objects().iter().find(route).expect("a route").1
    }
}

#[test]
fn a_refused_update_leaves_the_object_and_its_generation() {
    let mut trial = Trial::new(&[]);
    trial.write("a.yaml", ROUTE);
    assert_eq!(trial.reload(), [""; 0]);
    trial.write("a.yaml", &ROUTE.replace("name: a,", "name: A,"));
    let problems = trial.reload();
    assert!(
        problems[0].starts_with("a.yaml: LLMRoute default/chat: spec.rules[0].name: "),
        "{problems:?}"
    );
    assert_eq!(trial.route().generation, 1);
    assert_eq!(trial.route().document["spec"]["rules"][0]["name"], "a");
}

#[test]
fn a_change_of_spec_counts_and_one_of_labels_does_not() {
    let mut trial = Trial::new(&[]);
    trial.write("a.yaml", ROUTE);
    trial.reload();
    trial.write(
        "a.yaml",
        &ROUTE.replace("{name: chat}", "{name: chat, labels: {a: b}}"),
    );
    trial.reload();
    assert_eq!(trial.route().generation, 1);
    trial.write("a.yaml", &ROUTE.replace("name: a,", "name: b,"));
    trial.reload();
    assert_eq!(trial.route().generation, 2);
}

#[test]
fn a_file_that_does_not_parse_keeps_what_it_gave_and_a_removed_one_does_not() {
    let mut trial = Trial::new(&[]);
    trial.write("a.yaml", ROUTE);
    trial.reload();
    trial.write("a.yaml", "kind: [");
    let problems = trial.reload();
    assert!(
        problems[0].contains("isn't YAML") && problems[0].contains("stays in force"),
        "{problems:?}"
    );
    assert_eq!(trial.keys(), ["LLMRoute default/chat"]);
    fs::remove_file(trial.dir.path().join("a.yaml")).expect("removed");
    assert_eq!(trial.reload(), [""; 0]);
    assert_eq!(trial.keys(), [""; 0]);
}

#[test]
fn an_object_that_moves_to_another_file_stays_the_same() {
    let mut trial = Trial::new(&[]);
    trial.write("b.yaml", ROUTE);
    trial.reload();
    fs::rename(
        trial.dir.path().join("b.yaml"),
        trial.dir.path().join("a.yaml"),
    )
    .expect("renamed");
    assert_eq!(trial.reload(), [""; 0]);
    assert_eq!(trial.route().generation, 1);
}

#[test]
fn an_object_in_two_files_is_told_and_the_first_is_used() {
    let mut trial = Trial::new(&[]);
    trial.write("a.yaml", ROUTE);
    trial.write("b.yaml", &ROUTE.replace("name: a,", "name: b,"));
    let problems = trial.reload();
    assert!(
        problems[0].starts_with("b.yaml: LLMRoute default/chat: is in a.yaml already"),
        "{problems:?}"
    );
    assert_eq!(trial.route().document["spec"]["rules"][0]["name"], "a");
}

#[test]
fn other_kinds_hidden_files_and_subfolders_are_passed_over() {
    let mut trial = Trial::new(&[]);
    trial.write(
        "a.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\n---\n",
    );
    trial.write(".hidden.yaml", "kind: [");
    trial.write("notes.txt", "kind: [");
    fs::create_dir(trial.dir.path().join("sub.yaml")).expect("made");
    assert_eq!(trial.reload(), [""; 0]);
    assert_eq!(trial.keys(), [""; 0]);
}

#[test]
fn a_file_too_large_is_refused_and_not_read() {
    let mut trial = Trial::new(&[]);
    trial.write(
        "a.yaml",
        &"#".repeat(usize::try_from(MAX_FILE_BYTES).expect("small") + 1),
    );
    assert!(trial.reload()[0].contains("is larger than"), "no refusal");
}

#[test]
fn the_last_set_value_of_a_secret_is_not_shown_in_a_problem() {
    let mut trial = Trial::new(&[("KEY", "sk-planted")]);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: \"${KEY}\", b: \"${NONE}\", c: 7}\n";
    trial.write("a.yaml", secret);
    let problems = trial.reload().join("\n");
    assert!(
        problems.contains("stringData.b is left out: NONE isn't set"),
        "{problems}"
    );
    assert!(
        problems.contains("stringData.c: must be a string") && !problems.contains("planted"),
        "{problems}"
    );
}

#[test]
fn an_unquoted_on_is_told_because_kubectl_reads_it_as_true() {
    let with =
        |on: &str| ROUTE.replace("name: a,", &format!("name: a, retry: {{{on}: [Timeout]}},"));
    let mut trial = Trial::new(&[]);
    trial.write("a.yaml", &with("on"));
    assert!(trial.reload()[0].contains("write \"on\""), "not told");
    assert_eq!(
        trial.route().document["spec"]["rules"][0]["retry"]["on"][0],
        "Timeout"
    );
    trial.write("a.yaml", &format!("# on: quoted\n{}", with("\"on\"")));
    assert_eq!(trial.reload(), [""; 0]);
}
