//! Whatever bytes are pushed as resources, the sidecar answers and lives.

use http::HeaderMap;
use llmroute_protocol::{Held, Resource, ResourceRef};
use tokio::time::Instant;

use crate::balance::{Tried, pick};
use crate::table::fixture::config;
use crate::table::{Change, Found};

/// Cuts `bytes` into resources: kind, number of the name, length of the body in
/// two bytes, body. What is left over is the last body.
fn resources(mut bytes: &[u8]) -> Vec<Resource> {
    const NAMES: [&str; 4] = ["shop/a", "shop/b", "global", "\u{0}"];
    let mut resources = Vec::new();
    while let [kind, name, high, low, rest @ ..] = bytes {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (body, rest) = rest.split_at(len);
        resources.push(Resource {
            kind: (*kind).into(),
            name: NAMES[usize::from(*name) % NAMES.len()].to_owned(),
            version: llmroute_protocol::version_of(body),
            body: body.to_vec().into(),
        });
        bytes = rest;
    }
    resources
}

#[test]
fn no_bytes_pushed_as_resources_make_it_panic() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let config = config();
        let resources = resources(bytes);
        let (first, second) = resources.split_at(resources.len() / 2);
        let told = config.apply(Change::Snapshot {
            resources: first.to_vec(),
            unchanged: Vec::new(),
        });
        assert_eq!(told.len(), first.len(), "one answer a resource");
        let removed = first.first().map(|r| ResourceRef {
            kind: r.kind,
            name: r.name.clone(),
        });
        config.apply(Change::Delta {
            upserts: second.to_vec(),
            removed: removed.into_iter().collect(),
        });
        let table = config.table();
        let mut names = table.models();
        names.push("gpt".into());
        for name in names {
            if let Found::Rule(rule) = table.find(&name, &HeaderMap::new()) {
                let mut rng = fastrand::Rng::with_seed(7);
                let _ = pick(
                    &rule,
                    &name,
                    &mut Tried::default(),
                    Instant::now(),
                    &mut rng,
                );
            }
        }
        // What is held can be named back, and then nothing is missing.
        let unchanged: Vec<Held> = config.held();
        let told = config.apply(Change::Snapshot {
            resources: Vec::new(),
            unchanged,
        });
        assert!(told.is_empty(), "{told:?}");
    });
}
