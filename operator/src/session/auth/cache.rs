//! Positive reviews, by the hash of the token: the token itself isn't kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::Reviewed;
use crate::session::limits::MAX_REMEMBERED;

#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<[u8; 32], Known>>);

struct Known {
    reviewed: Arc<Reviewed>,
    ends: Instant,
    until: Instant,
}

impl Cache {
    pub(super) fn get(&self, hash: &[u8; 32]) -> Option<(Arc<Reviewed>, Instant)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(hash)?;
        (Instant::now() < known.until).then(|| (known.reviewed.clone(), known.ends))
    }

    pub(super) fn put(
        &self,
        hash: [u8; 32],
        reviewed: Arc<Reviewed>,
        ends: Instant,
        until: Instant,
    ) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Amortised: what is over is dropped whenever the map would grow.
        if all.len() == all.capacity() {
            let now = Instant::now();
            all.retain(|_, known| now < known.until);
        }
        if all.len() < MAX_REMEMBERED {
            let known = Known {
                reviewed,
                ends,
                until,
            };
            all.insert(hash, known);
        }
    }
}
