//! How long a watch that failed waits, and when it starts anew.
//!
//! After an outage of any length the watches must be back within seconds, so
//! the waits stay short; the client's own go up to half a minute. A version
//! that is too old is no outage: the list is asked for at once.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher::Error;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(2);
/// A watch that ran so long without a word has not failed in a row.
const CALM: Duration = Duration::from_secs(10);

/// Too old a version: HTTP 410.
const GONE: u16 = 410;

/// The waits of one watch. Each is between half of its ceiling and all of it.
struct Backoff {
    ceiling: Duration,
    failed_at: Option<Instant>,
    gone_at: Option<Instant>,
}

/// What lives between two items.
struct Patient<S, Open, Heard> {
    open: Open,
    heard: Heard,
    stream: Option<Pin<Box<S>>>,
    backoff: Backoff,
    wait: Duration,
}

/// The items of the stream that `open` gives, with a wait after each error.
/// `heard` says whether an item shows that the API server has answered: the
/// watcher's own "a list begins" doesn't.
pub(super) fn patient<T, S, Open, Heard>(
    open: Open,
    heard: Heard,
) -> impl Stream<Item = Result<T, Error>> + Send
where
    T: Send,
    S: Stream<Item = Result<T, Error>> + Send,
    Open: Fn() -> S + Send,
    Heard: Fn(&T) -> bool + Send,
{
    let patient = Patient {
        open,
        heard,
        stream: None,
        backoff: Backoff::new(),
        wait: Duration::ZERO,
    };
    stream::unfold(patient, |mut patient| async move {
        let item = patient.next().await?;
        Some((item, patient))
    })
}

/// The version from which to go on is no longer known there.
pub(super) fn is_gone(error: &Error) -> bool {
    match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => status.code == GONE,
        _ => false,
    }
}

// ---------------------------------------------------------------- impl Patient

impl<T, S, Open, Heard> Patient<S, Open, Heard>
where
    S: Stream<Item = Result<T, Error>>,
    Open: Fn() -> S,
    Heard: Fn(&T) -> bool,
{
    async fn next(&mut self) -> Option<Result<T, Error>> {
        if !self.wait.is_zero() {
            tokio::time::sleep(self.wait).await;
            self.wait = Duration::ZERO;
        }
        let stream = self.stream.get_or_insert_with(|| Box::pin((self.open)()));
        let item = stream.next().await?;
        match &item {
            Ok(item) if (self.heard)(item) => self.backoff.reset(),
            Ok(_) => {}
            Err(error) => {
                let gone = is_gone(error);
                if gone {
                    // The watcher itself would ask for the same version again
                    // where the refusal was the answer to its first request.
                    self.stream = None;
                }
                self.wait = self.backoff.after(gone, Instant::now(), fastrand::f64());
            }
        }
        Some(item)
    }
}

// ---------------------------------------------------------------- impl Backoff

impl Backoff {
    fn new() -> Self {
        Self {
            ceiling: FIRST,
            failed_at: None,
            gone_at: None,
        }
    }

    fn reset(&mut self) {
        self.ceiling = FIRST;
    }

    /// The wait after an error. `random` is in `0.0..1.0`.
    fn after(&mut self, gone: bool, now: Instant, random: f64) -> Duration {
        let recent = |at: Option<Instant>| at.is_some_and(|at| now - at < CALM);
        if gone {
            let again = recent(self.gone_at);
            self.gone_at = Some(now);
            // Lists that are too old as soon as they come are an outage too.
            if !again {
                return Duration::ZERO;
            }
        }
        if !recent(self.failed_at) {
            self.reset();
        }
        self.failed_at = Some(now);
        let wait = self.ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        self.ceiling = (self.ceiling * 2).min(MOST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::{self, Either};
    use kube::core::Status;

    use super::*;

    fn refusal(code: u16) -> Error {
        let status = Status {
            code,
            ..Status::default()
        };
        Error::WatchStartFailed(kube::Error::Api(Box::new(status)))
    }

    const HEARD: fn(&u32) -> bool = |_| true;

    #[test]
    fn the_ceiling_doubles_from_200_ms_to_2_s() {
        let (mut backoff, now) = (Backoff::new(), Instant::now());
        let waits: Vec<u128> = (0..6)
            .map(|_| backoff.after(false, now, 1.0).as_millis())
            .collect();
        assert_eq!(waits, [200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff.after(false, now, 0.0), MOST / 2, "jitter");
        backoff.reset();
        assert_eq!(backoff.after(false, now, 1.0), FIRST);
    }

    #[test]
    fn a_watch_that_was_quiet_for_a_while_begins_with_the_first_wait() {
        let (mut backoff, now) = (Backoff::new(), Instant::now());
        for _ in 0..6 {
            backoff.after(false, now, 1.0);
        }
        assert_eq!(backoff.after(false, now + CALM, 1.0), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_outage_of_any_length_a_watch_is_back_within_two_seconds() {
        for outage in [5, 33, 3600] {
            let begin = Instant::now();
            let back = begin + Duration::from_secs(outage);
            let open = || {
                stream::repeat_with(move || {
                    let up = Instant::now() >= back;
                    if up { Ok(7) } else { Err(refusal(503)) }
                })
            };
            let watch = patient(open, HEARD);
            let first = std::pin::pin!(watch.filter(|item| future::ready(item.is_ok())))
                .next()
                .await;
            assert!(first.is_some());
            let late = back.elapsed();
            assert!(late <= MOST, "{outage} s: {late:?} after it was back");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_begin_of_a_list_is_no_success() {
        let open = || {
            let mut turn = 0;
            stream::repeat_with(move || {
                turn += 1;
                if turn % 2 == 1 {
                    Ok(0)
                } else {
                    Err(refusal(500))
                }
            })
        };
        let begin = Instant::now();
        let watch = patient(open, |item| *item != 0);
        let failures = watch.filter(|item| future::ready(item.is_err())).take(11);
        let failures = failures.collect::<Vec<_>>().await.len();
        assert_eq!(failures, 11);
        assert!(
            begin.elapsed() > Duration::from_secs(7),
            "{:?}",
            begin.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn too_old_a_version_is_listed_anew_at_once() {
        let opened = AtomicUsize::new(0);
        let open = || match opened.fetch_add(1, Ordering::Relaxed) {
            0 => Either::Left(stream::repeat_with(|| Err(refusal(GONE)))),
            _ => Either::Right(stream::repeat_with(|| Ok(7))),
        };
        let begin = Instant::now();
        let watch = patient(open, HEARD).take(2).collect::<Vec<_>>().await;
        assert!(matches!(watch[..], [Err(_), Ok(7)]), "{watch:?}");
        assert_eq!(opened.load(Ordering::Relaxed), 2, "another stream");
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_for_which_everything_is_too_old_is_not_asked_without_a_pause() {
        let open = || stream::repeat_with(|| Err::<u32, _>(refusal(GONE)));
        let begin = Instant::now();
        let count = patient(open, HEARD).take(10).count().await;
        assert_eq!(count, 10);
        assert!(
            begin.elapsed() > Duration::from_secs(4),
            "{:?}",
            begin.elapsed()
        );
    }
}
