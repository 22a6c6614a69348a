//! The committed code is what `session.proto` generates. `LLMROUTE_BLESS=1 cargo
//! test -p llmroute-protocol --test generated` writes it anew.

use std::{fs, path::Path};

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().expect("a temporary folder");
    let files =
        protox::compile([root.join("session.proto")], [root]).expect("session.proto compiles");
    let mut prost = tonic_prost_build::Config::new();
    prost.bytes(["."]).skip_debug([
        // Written by hand, redacted: src/debug.rs.
        "llmroute.session.v1.Credential",
        "llmroute.session.v1.Resource",
    ]);
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .build_transport(false)
        .compile_fds_with_config(files, prost)
        .expect("code is generated");
    let new =
        fs::read_to_string(out.path().join("llmroute.session.v1.rs")).expect("generated file");
    let path = root.join("src/v1.rs");
    if std::env::var_os("LLMROUTE_BLESS").is_some() {
        fs::write(&path, &new).expect("src/v1.rs is writable");
        return;
    }
    let old = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        old == new,
        "src/v1.rs is stale: run LLMROUTE_BLESS=1 cargo test -p llmroute-protocol --test generated"
    );
}
