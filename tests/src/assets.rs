//! Where the programs are that `make assets` and `make build` provide.
//!
//! Nothing is searched on `PATH` that `make assets` can provide: a machine's
//! own `kubectl` may be years old.

use std::env;
use std::path::{Path, PathBuf};

/// The version that `tests/kit/assets` builds.
const KUBERNETES: &str = "1.35.4";

/// `kube-apiserver`, `etcd` or `kubectl`.
///
/// # Panics
/// Where it isn't: with the command that provides it.
pub fn kubernetes(program: &str) -> PathBuf {
    let dir = env::var_os("KUBEBUILDER_ASSETS").map_or_else(
        || cache().join(format!("k8s-{KUBERNETES}/bin")),
        PathBuf::from,
    );
    existing(dir.join(program), "make assets")
}

/// The Python that has the official SDK.
///
/// # Panics
/// Where it isn't: with the command that provides it.
pub fn python() -> PathBuf {
    existing(cache().join("python/bin/python"), "make assets")
}

/// A program that npm installed.
///
/// # Panics
/// Where it isn't: with the command that provides it.
pub fn node_bin(program: &str) -> PathBuf {
    existing(
        cache().join("node/node_modules/.bin").join(program),
        "make assets",
    )
}

/// One of our own binaries, as built beside this test binary; the sidecar that
/// `LLMROUTE_SIDECAR` names, where a release build is to be measured.
///
/// # Panics
/// Where it isn't: with the command that provides it.
pub fn own(binary: &str) -> PathBuf {
    if binary == "llmroute-sidecar"
        && let Some(path) = env::var_os("LLMROUTE_SIDECAR")
    {
        return existing(path.into(), "LLMROUTE_SIDECAR");
    }
    let test = env::current_exe().expect("a running test has a path");
    // target/<profile>/deps/<test>
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test binary lies in target/<profile>/deps");
    existing(profile.join(binary), "make build")
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is a folder of the repository")
        .to_owned()
}

fn cache() -> PathBuf {
    env::var_os("LLMROUTE_CACHE").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/llmroute"),
        PathBuf::from,
    )
}

fn existing(path: PathBuf, cure: &str) -> PathBuf {
    assert!(
        path.exists(),
        "{} isn't there: `{cure}` provides it",
        path.display()
    );
    path
}
