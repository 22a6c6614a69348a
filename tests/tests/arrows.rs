//! The houses and the arrows between them, as docs/architecture.md draws them.
//! Read from manifests and `use` lines, so that neither can drift alone.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Who may use whom. `tests` may use all and isn't listed.
const ARROWS: [(&str, &[&str]); 5] = [
    ("crds", &[]),
    ("protocol", &[]),
    ("operator", &["crds", "protocol"]),
    ("sidecar", &["protocol"]),
    ("cli", &["crds", "operator", "sidecar"]),
];

/// What a visitor sees when the repository is opened.
const TOP_LEVEL: [&str; 14] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "bench",
    "cli",
    "crds",
    "docs",
    "examples",
    "operator",
    "protocol",
    "sidecar",
    "tests",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The crates of ours that the manifest of `house` names outside its dev-dependencies.
fn manifest_arrows(house: &str) -> BTreeSet<String> {
    let manifest = read(&root().join(house).join("Cargo.toml"));
    let mut section = String::new();
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if section == "[dependencies]"
            && let Some(rest) = line.strip_prefix("llmroute-")
        {
            found.insert(
                rest.split(['.', ' ', '='])
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
    }
    found
}

/// The crates of ours that a source file of `house` names.
fn source_arrows(house: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for_each_source(&root().join(house).join("src"), &mut |text| {
        for (at, _) in text.match_indices("llmroute_") {
            let rest = &text[at + "llmroute_".len()..];
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(rest.len());
            if rest[end..].starts_with("::") {
                found.insert(rest[..end].to_owned());
            }
        }
    });
    found.remove(house);
    found
}

fn for_each_source(dir: &Path, see: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            for_each_source(&path, see);
        } else if path.extension().is_some_and(|e| e == "rs") {
            see(&read(&path));
        }
    }
}

#[test]
fn manifests_draw_no_arrow_but_the_designed_ones() {
    for (house, allowed) in ARROWS {
        let allowed: BTreeSet<String> = allowed.iter().map(|&a| a.to_owned()).collect();
        assert_eq!(manifest_arrows(house), allowed, "{house}/Cargo.toml");
    }
}

#[test]
fn sources_draw_no_arrow_but_the_designed_ones() {
    for (house, allowed) in ARROWS {
        let extra: Vec<_> = source_arrows(house)
            .into_iter()
            .filter(|a| !allowed.contains(&a.as_str()))
            .collect();
        assert!(extra.is_empty(), "{house}/src uses {extra:?}");
    }
}

#[test]
fn the_sidecar_knows_nothing_of_kubernetes() {
    let manifest = read(&root().join("sidecar/Cargo.toml"));
    for crate_name in ["kube", "k8s-openapi"] {
        assert!(
            !manifest.lines().any(|l| l.starts_with(crate_name)),
            "sidecar depends on {crate_name}"
        );
    }
}

#[test]
fn every_house_inherits_the_workspace_lints() {
    for house in ["crds", "protocol", "operator", "sidecar", "cli", "tests"] {
        let manifest = read(&root().join(house).join("Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{house}/Cargo.toml"
        );
    }
    assert!(read(&root().join("Cargo.toml")).contains("unsafe_code = \"forbid\""));
}

#[test]
fn the_visible_top_level_is_the_designed_one() {
    let visible: BTreeSet<String> = fs::read_dir(root())
        .expect("the repository's root")
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    assert_eq!(visible, TOP_LEVEL.map(str::to_owned).into());
}
