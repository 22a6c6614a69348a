//! What kube-proxy does for Service `llmroute-session`: new connections reach the pod that wears the leader label.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinSet;

use crate::proxy::Proxy;

/// As slow as endpoints and iptables are together, about.
const PERIOD: Duration = Duration::from_millis(100);

/// The stand-in; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Service {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    proxy: Proxy,
    pods: Mutex<BTreeMap<String, SocketAddr>>,
    leader: Mutex<Option<String>>,
}

// ---------------------------------------------------------------- impl Service

impl Service {
    pub(super) async fn start(client: Client, namespace: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            proxy: Proxy::start(None).await?,
            pods: Mutex::default(),
            leader: Mutex::default(),
        });
        let mut task = JoinSet::new();
        task.spawn(follow(
            Api::namespaced(client, namespace),
            Arc::clone(&shared),
        ));
        Ok(Self {
            shared,
            _task: task,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.shared.proxy.address()
    }

    /// The pod's address, which a real pod has as its IP.
    pub(super) fn add(&self, pod: &str, address: SocketAddr) {
        lock(&self.shared.pods).insert(pod.to_owned(), address);
    }

    pub(super) fn leader(&self) -> Option<String> {
        lock(&self.shared.leader).clone()
    }
}

async fn follow(pods: Api<Pod>, shared: Arc<Shared>) {
    let leaders = ListParams::default().labels("llmroute.dev/leader=true");
    loop {
        // While the API server is away, what was known stays, as in kube-proxy.
        if let Ok(found) = pods.list_metadata(&leaders).await {
            let name = found.iter().next().map(ResourceExt::name_any);
            let address = name
                .as_ref()
                .and_then(|name| lock(&shared.pods).get(name).copied());
            shared.proxy.turn(address);
            *lock(&shared.leader) = name;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
