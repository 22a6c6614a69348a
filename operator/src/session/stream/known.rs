//! What is known of who is at the other end, for the log. Never the token, and
//! nothing that the client says of itself.

use std::sync::Arc;

use tracing::field::display;

use crate::session::accept::Peer;
use crate::session::auth::Reviewed;
use crate::session::end::End;

#[derive(Default)]
pub(super) struct Known {
    /// Whence the connection came, if by TCP.
    pub(super) peer: Option<Peer>,
    /// Once the API server has told.
    pub(super) owner: Option<Arc<Reviewed>>,
}

// ---------------------------------------------------------------- impl Known

impl Known {
    /// One line for the end of a stream.
    pub(super) fn log(&self, end: End) {
        let peer = self.peer.map(|Peer(address)| display(address));
        let owner = self.owner.as_deref();
        let namespace = owner.map(|owner| owner.namespace.as_str());
        let service_account = owner.map(|owner| owner.service_account.as_str());
        let pod =
            owner.and_then(|owner| Some(format!("{}/{}", owner.namespace, owner.pod.as_ref()?.0)));
        let pod = pod.map(display);
        let label = end.label();
        match end {
            End::Refused(refusal) => tracing::warn!(
                peer,
                namespace,
                pod,
                service_account,
                code = refusal.label(),
                reason = %refusal,
                "session refused"
            ),
            End::Silent | End::Malformed => {
                tracing::warn!(peer, pod, end = label, "session lost");
            }
            End::Gone
            | End::NotLeader
            | End::HigherEpoch
            | End::Superseded
            | End::TokenExpired
            | End::Drain => tracing::debug!(peer, pod, end = label, "session ended"),
        }
    }
}
