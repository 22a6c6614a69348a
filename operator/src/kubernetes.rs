//! Calls to the API server, each with an end, and what their errors mean.
//!
//! The client itself waits as long as the connection does; a leader that is
//! cut off must notice within seconds. Nothing here retries.

use std::error::Error as _;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError as ReadError};
use kube::{Client, Config};

/// A call that has no answer by then has failed. Longer than the slowest
/// healthy write that was seen (1 s under load), shorter than the Lease.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig that was named.
    #[error("kubeconfig {path}")]
    Kubeconfig {
        /// Where it should be.
        path: String,
        /// What is wrong with it.
        source: ReadError,
    },
    /// Neither KUBECONFIG nor a service account.
    #[error("no kubeconfig and no service account")]
    Neither(#[source] InferConfigError),
    /// Certificates or keys that can't be used.
    #[error("the settings make no client")]
    Settings(#[source] kube::Error),
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server answered with a refusal, or the connection failed.
    #[error("{}", told(.0))]
    Kube(#[from] kube::Error),
    /// No answer. A write may still have happened, or still happen.
    #[error("no answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
    Timeout,
}

/// A client by the kubeconfig at `path`, else by KUBECONFIG, else as the
/// service account of this pod. Connects to nothing yet.
pub async fn client(path: Option<&Path>, context: Option<&str>) -> Result<Client, ClientError> {
    let mut config = match path {
        Some(path) => named(path, context).await?,
        None => Config::infer().await.map_err(ClientError::Neither)?,
    };
    config.connect_timeout = Some(CALL_TIMEOUT);
    Client::try_from(config).map_err(ClientError::Settings)
}

async fn named(path: &Path, context: Option<&str>) -> Result<Config, ClientError> {
    let wrong = |source| ClientError::Kubeconfig {
        path: path.display().to_string(),
        source,
    };
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map_err(wrong)
}

/// `future`, but at most [`CALL_TIMEOUT`].
pub async fn call<T>(future: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_TIMEOUT, future).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::Timeout),
    }
}

/// A refusal in the API server's own words; anything else down to its cause:
/// "connection refused" is at the end of the chain.
pub fn told(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} ({})", status.message, status.code);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        // Some repeat their cause.
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_call_names_its_cause() {
        // Nothing listens on port 1.
        let config = Config::new("http://127.0.0.1:1".parse().expect("a URL"));
        let client = Client::try_from(config).expect("makes a client");
        let answer = call(client.apiserver_version()).await;
        let text = answer.expect_err("nobody answers").to_string();
        assert!(text.contains("onnection refused"), "{text}");
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_api_server() {
        let status = kube::core::Status::failure("leases is forbidden", "Forbidden").with_code(403);
        let error = CallError::Kube(kube::Error::Api(Box::new(status)));
        assert_eq!(error.to_string(), "leases is forbidden (403)");
        assert_eq!(code(&error), Some(403));
    }
}
