//! The long tasks of the process, by name.
//!
//! Each of them runs as long as the process: one that ends by itself, or that
//! panics, ends the process, so that the container starts afresh. Half an
//! operator would look healthy and do half its work. Nothing is restarted here.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

/// The running tasks. Dropping it aborts them.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A task that ended.
#[derive(Debug, PartialEq, Eq)]
pub struct TaskEnd {
    /// The name that it was given.
    pub name: &'static str,
    /// By a panic, which the panic hook has logged.
    pub panicked: bool,
}

// ---------------------------------------------------------------- impl Tasks

impl Tasks {
    /// Runs `future` under `name`.
    pub fn spawn(&mut self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(future).id();
        self.names.insert(id, name);
    }

    /// The next task that ends. Waits for ever when there is none: cancel safe.
    pub async fn next_end(&mut self) -> TaskEnd {
        match self.set.join_next_with_id().await {
            Some(ended) => self.named(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended, at most `limit`; the names of those that haven't.
    pub async fn join(&mut self, limit: Duration) -> Vec<&'static str> {
        let all = async {
            while let Some(ended) = self.set.join_next_with_id().await {
                self.names.remove(&id(&ended));
            }
        };
        // What is left is named below.
        let _ = tokio::time::timeout(limit, all).await;
        let mut left: Vec<_> = self.names.values().copied().collect();
        left.sort_unstable();
        left
    }

    fn named(&mut self, ended: Result<(Id, ()), JoinError>) -> TaskEnd {
        let name = self.names.remove(&id(&ended)).unwrap_or("unnamed");
        let panicked = ended.is_err_and(|error| error.is_panic());
        TaskEnd { name, panicked }
    }
}

fn id(ended: &Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_under_the_name_of_its_task() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", std::future::pending());
        tasks.spawn("bad", async { panic!("on purpose") });
        let end = tasks.next_end().await;
        assert_eq!(
            end,
            TaskEnd {
                name: "bad",
                panicked: true
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_ended_in_time_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("quick", async {});
        tasks.spawn("stuck", std::future::pending());
        assert_eq!(tasks.join(Duration::from_secs(5)).await, ["stuck"]);
    }
}
