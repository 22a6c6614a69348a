//! What the connected sidecars say, as far as a status shows it. The session
//! server counts; the `status` functions read.

use jiff::Timestamp;
use llmroute_protocol::Key;

/// The sidecars of one route: those that are connected and whose pod the route
/// selects and isn't terminating. Each is in exactly one of the four states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataplane {
    /// All of them.
    pub connected: u32,
    /// Acknowledged (ok or warning) everything of `Built::needs`, at those versions.
    pub acked: u32,
    /// Answered an error to one of `Built::needs`, at that version.
    pub rejected: u32,
    /// Neither, 30 s after the push.
    pub stale: u32,
    /// Samples of the errors; a status shows the first [`Dataplane::SAMPLES`] by pod and path.
    pub rejections: Vec<Rejection>,
}

/// One error of one sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The pod's name.
    pub pod: String,
    /// Which resource it refused: the route, or a provider or credential of it.
    pub resource: Key,
    /// Where, in the words of the CRD.
    pub path: String,
    /// Why.
    pub message: String,
    /// When the answer came.
    pub at: Timestamp,
}

/// What sidecars learned of one provider's credential, as pushed now: states
/// that name another hash don't count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialFacts {
    /// Sidecars whose last call was answered 401.
    pub rejecting: u32,
    /// Sidecars whose last call was accepted.
    pub accepting: u32,
    /// 401s in all, of the sidecars that are connected.
    pub rejected401: u64,
}

// ---------------------------------------------------------- impl Dataplane

impl Dataplane {
    /// A status holds so many samples.
    pub const SAMPLES: usize = 5;

    /// Pushed less than 30 s ago, no answer yet.
    pub fn pending(&self) -> u32 {
        self.connected
            .saturating_sub(self.acked)
            .saturating_sub(self.rejected)
            .saturating_sub(self.stale)
    }
}
