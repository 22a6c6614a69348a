//! Why a call got no answer at all.

use std::io;

/// A call that ended before the head of an answer.
///
/// No variant carries a byte that the peer sent or a header that we sent: the
/// text is fit for a client and for a log.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The name has no address.
    #[error("the host name doesn't resolve")]
    Resolve,
    /// The name has addresses, but only such as no call may go to: link-local
    /// ones (the metadata services of the clouds live there), or loopback where
    /// the configuration doesn't allow it.
    #[error("the address is not allowed")]
    Forbidden,
    /// No address took the connection.
    #[error("connection failed: {0}")]
    Connect(io::ErrorKind),
    /// The certificate doesn't verify, or there is no common version.
    #[error("TLS failed")]
    Tls(#[source] io::Error),
    /// Connecting, TLS included, took longer than allowed.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The connection ended before the head of an answer was read.
    #[error("the connection was closed before an answer")]
    Closed,
    /// What came isn't HTTP.
    #[error("the answer is not valid HTTP")]
    Protocol,
}

impl UpstreamError {
    /// Sorts an error of hyper's that came instead of a head.
    pub(super) fn from_hyper(error: &hyper::Error) -> Self {
        if error.is_parse() || error.is_parse_too_large() {
            Self::Protocol
        } else {
            Self::Closed
        }
    }
}
