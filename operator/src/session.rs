//! The push server: one stream a sidecar, its pod's config down, acks up.
//!
//! Who may connect is `auth`, when a connection is taken or given up is
//! `accept`, what a stream does from hello to goodbye is `stream`, what is sent
//! next is `push` (pure), what the sidecars answered is `facts`. Only the
//! leader serves; everybody else says so and closes.
//!
//! The server doesn't know what a route or a provider means: a resource is a
//! name, a version and bytes, made by the `controllers` and judged by the
//! sidecar. It trusts no word of a client about whose client it is.

mod accept;
mod auth;
mod end;
mod facts;
mod limits;
mod lookup;
mod push;
mod registry;
mod review;
mod schema;
mod stream;
mod view;

use std::sync::Arc;

use jiff::Timestamp;
use llmroute_protocol::session_service_server::SessionService;
use llmroute_protocol::{FromOperator, FromSidecar, ServingEpochReply, ServingEpochRequest};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub use auth::{Refusal, Reviewed, Reviewer};
pub use end::LABELS as END_LABELS;
pub use facts::{Facts, Touched};
pub use limits::Limits;
pub use lookup::{KubePods, PodLookup};
pub use review::KubeReviewer;
pub use view::{Cluster, PodStore, Published, View};

use crate::certs::serve::ServedLeaf;
use crate::leader::{LeaseHealth, Role};
use crate::metrics::Metrics;
use accept::{Open, Peer};
use auth::Authenticator;
use registry::Registry;
use stream::Caller;

/// What the server works with.
pub struct Deps {
    /// What each pod needs.
    pub view: Published,
    /// Pods that the view doesn't know.
    pub pods: Arc<dyn PodLookup>,
    /// Whose token it is.
    pub reviewer: Arc<dyn Reviewer>,
    /// Whether this process serves, and under which epoch.
    pub role: watch::Receiver<Role>,
    /// The highest epoch that a sidecar has shown, for the election.
    pub shown: watch::Sender<u64>,
    /// Whether the API server can be reached.
    pub health: LeaseHealth,
    /// Names this process and no other, ever.
    pub owner: String,
    /// What sidecars answered goes here.
    pub facts: Facts,
    /// Sessions, pushes, refusals.
    pub metrics: Metrics,
    /// The wall clock: for pings and for the ends of tokens.
    pub clock: fn() -> Timestamp,
    /// How much of everything.
    pub limits: Limits,
}

/// The server; cloned freely, it is one.
#[derive(Clone)]
pub struct SessionServer(Arc<Shared>);

/// What all streams share.
struct Shared {
    view: Published,
    auth: Authenticator,
    role: watch::Receiver<Role>,
    shown: watch::Sender<u64>,
    health: LeaseHealth,
    owner: String,
    facts: Facts,
    metrics: Metrics,
    clock: fn() -> Timestamp,
    limits: Limits,
    registry: Registry,
    /// Turns to look at pods that no watch shows.
    looks: Arc<Semaphore>,
    /// Ends every stream with a goodbye.
    drain: CancellationToken,
}

// ---------------------------------------------------------------- impl SessionServer

impl SessionServer {
    /// Nothing is bound yet.
    pub fn new(deps: Deps) -> Self {
        let Deps {
            view,
            pods,
            reviewer,
            role,
            shown,
            health,
            owner,
            facts,
            metrics,
            clock,
            limits,
        } = deps;
        let auth = Authenticator::new(reviewer, pods, clock, metrics.clone(), &limits);
        Self(Arc::new(Shared {
            view,
            auth,
            role,
            shown,
            health,
            owner,
            facts,
            metrics,
            clock,
            registry: Registry::new(limits.sessions),
            looks: Arc::new(Semaphore::new(limits.looks)),
            limits,
            drain: CancellationToken::new(),
        }))
    }

    /// Serves TLS connections until `stop`; then every sidecar is told to come
    /// back later, and the connections get a few seconds to end.
    ///
    /// Dropping the future closes the port and aborts what is open.
    pub async fn serve(self, listener: TcpListener, leaf: ServedLeaf, stop: CancellationToken) {
        accept::serve(self, listener, leaf, stop).await;
    }
}

#[tonic::async_trait]
impl SessionService for SessionServer {
    type SessionStream = ReceiverStream<Result<FromOperator, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<FromSidecar>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (metadata, extensions, inbound) = request.into_parts();
        let (out, frames) = mpsc::channel(self.0.limits.frames_queued);
        let caller = Caller {
            token: auth::bearer(&metadata),
            peer: extensions.get::<Peer>().copied(),
        };
        let open = extensions.get::<Open>().cloned();
        let shared = self.0.clone();
        // Ends by itself: with the client, the token, the role or the server.
        tokio::spawn(async move {
            stream::run(shared, caller, inbound, out).await;
            drop(open);
        });
        Ok(Response::new(ReceiverStream::new(frames)))
    }

    async fn serving_epoch(
        &self,
        _: Request<ServingEpochRequest>,
    ) -> Result<Response<ServingEpochReply>, Status> {
        let role = self.0.role.borrow().clone();
        Ok(Response::new(ServingEpochReply {
            epoch: role.epoch(),
            leader: role.leading().is_some(),
        }))
    }
}

#[cfg(test)]
mod tests;
