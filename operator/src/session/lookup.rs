//! One look at the API server, for a pod that the watch doesn't show.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use crate::kubernetes::{CallError, call};
use crate::world::{ObjectRef, PodFacts};

/// Where a pod is asked for.
pub trait PodLookup: Send + Sync + 'static {
    /// The pod as it is now; `None` when there is none.
    fn get<'a>(
        &'a self,
        id: &'a ObjectRef,
    ) -> BoxFuture<'a, Result<Option<Arc<PodFacts>>, CallError>>;
}

/// The API server.
pub struct KubePods(Client);

impl KubePods {
    /// Asks with this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl PodLookup for KubePods {
    fn get<'a>(
        &'a self,
        id: &'a ObjectRef,
    ) -> BoxFuture<'a, Result<Option<Arc<PodFacts>>, CallError>> {
        Box::pin(async move {
            let pods: Api<Pod> = Api::namespaced(self.0.clone(), &id.namespace);
            let pod = call(pods.get_metadata_opt(&id.name)).await?;
            let facts = pod.and_then(|pod| PodFacts::from_metadata(&pod.metadata));
            Ok(facts.map(Arc::new))
        })
    }
}
