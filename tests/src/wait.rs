//! Waits that end.
//!
//! A condition that isn't met yet is an error that says what there is instead:
//! when the time is up, the last of them is the failure message.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// An error that no waiting cures: what is waited for has ended.
#[derive(Debug)]
pub struct Hopeless(pub String);

impl std::fmt::Display for Hopeless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Hopeless {}

/// Looks again and again until `look` succeeds, but no longer than `cap`.
///
/// # Errors
/// The last error of `look`, with what was waited for and how long; the first
/// that is [`Hopeless`].
pub async fn eventually<T>(
    what: &str,
    cap: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < cap {
        match tokio::time::timeout(cap.saturating_sub(start.elapsed()), look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) if error.is::<Hopeless>() => return Err(error.context(what.to_owned())),
            Ok(Err(error)) => last = Some(error),
            Err(_) => break,
        }
        tokio::time::sleep(PAUSE).await;
    }
    let last = last.unwrap_or_else(|| anyhow!("the look itself did not end"));
    Err(last.context(format!("waited {:.1} s for {what}", cap.as_secs_f64())))
}

/// `future`, but an error after `cap`.
pub async fn within<T>(
    what: &str,
    cap: Duration,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(cap, future)
        .await
        .map_err(|_| anyhow!("{what} did not end within {:.1} s", cap.as_secs_f64()))?
}
