//! Calls to the API server, each with an end, and what their errors mean.
//!
//! The client itself waits as long as the connection does; a leader that is
//! cut off must notice within seconds. Nothing here retries.

use std::future::Future;
use std::time::Duration;

/// A call that has no answer by then has failed. Longer than the slowest
/// healthy write that was seen (1 s under load), shorter than the Lease.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The owner of the fields that this program applies.
pub const FIELD_MANAGER: &str = "llmroute";

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server answered with a refusal, or the connection failed.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// No answer. A write may still have happened, or still happen.
    #[error("no answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
}

/// `future`, but at most [`CALL_TIMEOUT`].
pub async fn call<T>(future: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::Timeout),
    }
}

/// Somebody else wrote first, or created it.
pub fn is_conflict(error: &CallError) -> bool {
    code(error) == Some(409)
}

/// The object isn't there.
pub fn is_not_found(error: &CallError) -> bool {
    code(error) == Some(404)
}

/// The HTTP status of a refusal; `None` when there was no answer.
pub fn code(error: &CallError) -> Option<u16> {
    match error {
        CallError::Kube(kube::Error::Api(status)) => Some(status.code),
        CallError::Kube(_) | CallError::Timeout => None,
    }
}
