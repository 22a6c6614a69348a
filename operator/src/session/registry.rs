//! One stream a pod: the newest of its newest incarnation.
//!
//! A sidecar that reconnects may be seen on its new stream before its old one
//! is known to be dead. The streams' own numbers decide, never the order in
//! which they arrive: an older hello that was delayed must not win.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::limits::MAX_REMEMBERED;

/// Who has which seat.
#[derive(Clone)]
pub(super) struct Registry {
    state: Arc<Mutex<State>>,
    seats: usize,
}

#[derive(Default)]
struct State {
    /// By the pod's UID.
    pods: HashMap<String, Seat>,
    taken: usize,
    last_id: u64,
    /// Pods whose stream ended, oldest first: remembered for delayed hellos.
    left: VecDeque<(String, u64)>,
}

struct Seat {
    id: u64,
    stream: Stream,
    /// Of the stream that has the seat now.
    holder: Option<CancellationToken>,
}

/// The order of a pod's streams: by life, then by connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stream {
    pub(super) born_unix_ms: u64,
    pub(super) random: u64,
    pub(super) conn: u64,
}

/// Held by the stream; dropping it frees the seat.
pub(super) struct Taken {
    registry: Registry,
    pod_uid: String,
    id: u64,
    /// A newer stream has taken the seat.
    pub(super) superseded: CancellationToken,
}

/// Why there is no seat.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// A newer stream of the pod was seen.
    Superseded,
    /// All are taken.
    Full,
}

// ---------------------------------------------------------------- impl Registry

impl Registry {
    pub(super) fn new(seats: usize) -> Self {
        Self {
            state: Arc::default(),
            seats,
        }
    }

    /// Takes the pod's seat from any older stream.
    pub(super) fn take(&self, pod_uid: &str, stream: Stream) -> Result<Taken, NoSeat> {
        let mut state = self.state();
        let seat = state.pods.get(pod_uid);
        if seat.is_some_and(|seat| seat.outranks(stream)) {
            return Err(NoSeat::Superseded);
        }
        let older = seat.and_then(|seat| seat.holder.clone());
        if older.is_none() {
            if state.taken >= self.seats {
                return Err(NoSeat::Full);
            }
            state.taken += 1;
        }
        state.last_id += 1;
        let id = state.last_id;
        let superseded = CancellationToken::new();
        let seat = Seat {
            id,
            stream,
            holder: Some(superseded.clone()),
        };
        state.pods.insert(pod_uid.to_owned(), seat);
        drop(state);
        if let Some(older) = older {
            older.cancel();
        }
        Ok(Taken {
            registry: self.clone(),
            pod_uid: pod_uid.to_owned(),
            id,
            superseded,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ---------------------------------------------------------------- impl Seat

impl Seat {
    /// A free seat is remembered against delayed hellos of the same life only:
    /// a clock that was set back must not lock out a sidecar that restarted.
    fn outranks(&self, stream: Stream) -> bool {
        let same_life = stream.random == self.stream.random;
        (self.holder.is_some() || same_life) && stream <= self.stream
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.registry.state();
        let Some(seat) = state.pods.get_mut(&self.pod_uid) else {
            return;
        };
        if seat.id != self.id {
            return;
        }
        seat.holder = None;
        state.taken -= 1;
        state
            .left
            .push_back((std::mem::take(&mut self.pod_uid), self.id));
        if state.left.len() > MAX_REMEMBERED {
            state.forget_oldest();
        }
    }
}

// ---------------------------------------------------------------- impl State

impl State {
    fn forget_oldest(&mut self) {
        let Some((pod_uid, id)) = self.left.pop_front() else {
            return;
        };
        // It may have come back since.
        if self.pods.get(&pod_uid).is_some_and(|seat| seat.id == id) {
            self.pods.remove(&pod_uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(born_unix_ms: u64, conn: u64) -> Stream {
        Stream {
            born_unix_ms,
            random: 7,
            conn,
        }
    }

    #[test]
    fn a_newer_stream_of_the_pod_takes_the_seat_and_an_older_one_does_not() {
        let registry = Registry::new(10);
        let first = registry.take("u-1", stream(5, 2)).expect("free");
        for older in [stream(5, 1), stream(5, 2), stream(4, 9)] {
            let refused = registry.take("u-1", older).err();
            assert_eq!(refused, Some(NoSeat::Superseded), "{older:?}");
        }
        assert!(!first.superseded.is_cancelled());
        let second = registry.take("u-1", stream(5, 3)).expect("newer");
        assert!(first.superseded.is_cancelled());
        drop(first);
        let _third = registry.take("u-1", stream(6, 1)).expect("a newer life");
        assert!(second.superseded.is_cancelled());
    }

    #[test]
    fn a_delayed_hello_is_known_after_its_stream_ended() {
        let registry = Registry::new(10);
        drop(registry.take("u-1", stream(5, 2)));
        let refused = registry.take("u-1", stream(5, 2)).err();
        assert_eq!(refused, Some(NoSeat::Superseded));
        assert!(registry.take("u-1", stream(5, 3)).is_ok());
    }

    #[test]
    fn a_life_that_was_born_by_a_clock_set_back_gets_the_seat_once_it_is_free() {
        let registry = Registry::new(10);
        let first = registry.take("u-1", stream(5, 2)).expect("free");
        let restarted = Stream {
            born_unix_ms: 3,
            random: 8,
            conn: 1,
        };
        let refused = registry.take("u-1", restarted).err();
        assert_eq!(refused, Some(NoSeat::Superseded));
        drop(first);
        assert!(registry.take("u-1", restarted).is_ok());
    }

    #[test]
    fn seats_are_counted_and_freed() {
        let registry = Registry::new(2);
        let one = registry.take("u-1", stream(5, 1)).expect("free");
        let _two = registry.take("u-2", stream(5, 1)).expect("free");
        let full = registry.take("u-3", stream(5, 1)).err();
        assert_eq!(full, Some(NoSeat::Full));
        // Taking over one's own seat needs no other.
        let again = registry.take("u-1", stream(5, 2)).expect("its own");
        drop(one);
        assert_eq!(registry.take("u-3", stream(5, 1)).err(), Some(NoSeat::Full));
        drop(again);
        assert!(registry.take("u-3", stream(5, 1)).is_ok());
    }

    #[test]
    fn what_is_remembered_of_ended_streams_is_bounded() {
        let registry = Registry::new(10);
        for n in 0..MAX_REMEMBERED + 50 {
            drop(registry.take(&format!("u-{n}"), stream(5, 1)));
        }
        let state = registry.state();
        assert_eq!(
            (state.pods.len(), state.left.len()),
            (MAX_REMEMBERED, MAX_REMEMBERED)
        );
    }
}
