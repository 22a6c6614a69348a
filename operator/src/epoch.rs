//! The epoch: a number that one leader process owns, in ConfigMap `llmroute-epoch`.
//!
//! It is not the Lease's count of transitions: that one doesn't grow when the
//! same identity acquires again, and a deleted Lease resets it. Writes carry
//! the resourceVersion that was read, so that of two who try one wins. Keys of
//! the ConfigMap that this module doesn't know are kept.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::kubernetes::{CallError, call};

/// The ConfigMap in the operator's namespace.
pub const ROOT: &str = "llmroute-epoch";
/// Worn by the ledger's `ConfigMap`s, whose epochs count too.
const SHARD_SELECTOR: &str = "llmroute.dev/ledger=true";
const EPOCH: &str = "epoch";
const OWNER: &str = "owner";

/// Epochs stay below 2^48: what is above was never written by a leader.
const EPOCH_LIMIT: u64 = 1 << 48;

/// What the root says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The newest epoch; 0 where it can't be read.
    pub epoch: u64,
    /// The process that owns it.
    pub owner: String,
}

/// The root of one namespace, as one process writes it.
pub struct EpochStore {
    maps: Api<ConfigMap>,
    namespace: String,
    owner: String,
}

// ---------------------------------------------------------------- impl EpochStore

impl EpochStore {
    /// `owner` names this process and no other, ever.
    pub fn new(client: Client, namespace: &str, owner: &str) -> Self {
        Self {
            maps: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            owner: owner.to_owned(),
        }
    }

    /// What is there.
    pub async fn read(&self) -> Result<Option<Root>, CallError> {
        let map = call(self.maps.get_opt(ROOT)).await?;
        Ok(map.map(|map| root(&map)))
    }

    /// Owns an epoch above `floor` and above every epoch in the store, and
    /// tells which. An error may leave the write done: then the next takeover
    /// is above that one too.
    pub async fn take_over(&self, floor: u64) -> Result<u64, CallError> {
        let shards = ListParams::default().labels(SHARD_SELECTOR);
        let shards = call(self.maps.list(&shards)).await?;
        let map = call(self.maps.get_opt(ROOT)).await?;
        let found = shards.iter().chain(&map).map(|map| root(map).epoch).max();
        let epoch = next_epoch(floor, found.unwrap_or(0));
        let params = PostParams::default();
        if let Some(map) = map {
            let map = self.owned(map, epoch);
            call(self.maps.replace(ROOT, &params, &map)).await?;
        } else {
            let map = self.owned(ConfigMap::default(), epoch);
            call(self.maps.create(&params, &map)).await?;
        }
        Ok(epoch)
    }

    fn owned(&self, mut map: ConfigMap, epoch: u64) -> ConfigMap {
        let data = map.data.get_or_insert_default();
        data.insert(EPOCH.to_owned(), epoch.to_string());
        data.insert(OWNER.to_owned(), self.owner.clone());
        map.metadata = ObjectMeta {
            name: Some(ROOT.to_owned()),
            namespace: Some(self.namespace.clone()),
            managed_fields: None,
            ..map.metadata
        };
        map
    }
}

fn next_epoch(floor: u64, found: u64) -> u64 {
    // A floor beyond the limit is a sidecar's mistake; it must not use up the numbers.
    let floor = if floor < EPOCH_LIMIT { floor } else { 0 };
    floor.max(found) + 1
}

fn root(map: &ConfigMap) -> Root {
    let empty = BTreeMap::new();
    let data = map.data.as_ref().unwrap_or(&empty);
    let epoch = data.get(EPOCH).and_then(|text| text.trim().parse().ok());
    Root {
        // Unreadable is 0: a sidecar that followed a higher one will show it.
        epoch: epoch.filter(|e| *e < EPOCH_LIMIT).unwrap_or(0),
        owner: data.get(OWNER).cloned().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::FakeApi;

    const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

    fn map(name: &str, data: &[(&str, &str)]) -> serde_json::Value {
        let data: BTreeMap<_, _> = data.iter().copied().collect();
        serde_json::json!({
            "metadata": { "name": name, "namespace": "ns", "labels": { "llmroute.dev/ledger": "true" } },
            "data": data,
        })
    }

    #[test]
    fn the_next_epoch_is_above_all_that_was_seen() {
        for (floor, found, next) in [
            (0, 0, 1),
            (0, 7, 8),
            (9, 7, 10),
            (EPOCH_LIMIT, 7, 8),
            (u64::MAX, 0, 1),
        ] {
            assert_eq!(
                next_epoch(floor, found),
                next,
                "floor {floor}, found {found}"
            );
        }
    }

    #[test]
    fn an_unreadable_epoch_counts_as_none() {
        for text in ["", "x", "-1", "99999999999999999999", "281474976710656"] {
            let map: ConfigMap =
                serde_json::from_value(map(ROOT, &[(EPOCH, text)])).expect("a ConfigMap");
            assert_eq!(root(&map).epoch, 0, "{text:?}");
        }
    }

    #[tokio::test]
    async fn every_takeover_is_above_the_last_also_by_the_same_process() {
        let api = FakeApi::default();
        let store = EpochStore::new(api.client(), "ns", "a");
        assert_eq!(store.take_over(0).await.expect("created"), 1);
        assert_eq!(store.take_over(0).await.expect("replaced"), 2);
        let other = EpochStore::new(api.client(), "ns", "b");
        assert_eq!(other.take_over(40).await.expect("replaced"), 41);
        let expected = Root {
            epoch: 41,
            owner: "b".into(),
        };
        assert_eq!(store.read().await.expect("read"), Some(expected));
    }

    #[tokio::test]
    async fn shards_count_and_unknown_keys_are_kept() {
        let api = FakeApi::default();
        api.put(MAPS, map(ROOT, &[(EPOCH, "3"), ("shards", "[\"0\"]")]));
        api.put(MAPS, map("llmroute-ledger-0", &[(EPOCH, "12")]));
        let store = EpochStore::new(api.client(), "ns", "a");
        assert_eq!(store.take_over(0).await.expect("replaced"), 13);
        let root = api.get(&format!("{MAPS}/{ROOT}")).expect("there");
        assert_eq!(root["data"]["shards"], "[\"0\"]");
    }

    #[tokio::test]
    async fn of_two_who_read_the_same_root_one_wins() {
        let api = FakeApi::default();
        api.put(MAPS, map(ROOT, &[(EPOCH, "3")]));
        let store = EpochStore::new(api.client(), "ns", "a");
        api.conflict_next_write();
        let error = store.take_over(0).await.expect_err("the other one won");
        assert!(crate::kubernetes::is_conflict(&error), "{error}");
    }
}
