//! The first push of a stream: everything, but only the bytes that differ.

use std::collections::HashMap;
use std::sync::Arc;

use llmroute_protocol::{CHUNK_BYTES, FromOperator, Held, Snapshot, from_operator};

use super::{Push, Pushed, Sent};
use crate::controllers::PodConfig;

impl Push {
    pub(super) fn snapshot(&self, wanted: &Arc<PodConfig>, held: &[Held]) -> (Pushed, Vec<Sent>) {
        let held: HashMap<_, _> = held
            .iter()
            .map(|held| ((held.kind, held.name.as_str()), held))
            .collect();
        let sent: Vec<_> = wanted
            .resources
            .values()
            .filter_map(|r| self.fit(r))
            .collect();
        let mut chunks = Chunks::default();
        for resource in &sent {
            let wire = resource.wire();
            match held.get(&(wire.kind, wire.name.as_str())) {
                Some(held) if held.version == wire.version => chunks.unchanged(held),
                _ => chunks.resource(resource),
            }
        }
        let hash = self.hash(wanted);
        let bytes = chunks.bytes;
        let frames = chunks.done.into_iter().chain([chunks.open]);
        let mut frames: Vec<_> = frames
            .map(|chunk| Snapshot {
                epoch: self.epoch,
                seq: self.seq + 1,
                hash: hash.clone(),
                ..chunk
            })
            .collect();
        if let Some(chunk) = frames.last_mut() {
            chunk.last = true;
        }
        let pushed = Pushed {
            frames: frames.into_iter().map(frame).collect(),
            config: wanted.clone(),
            bytes,
            kind: "snapshot",
        };
        (pushed, sent)
    }
}

#[derive(Default)]
struct Chunks {
    done: Vec<Snapshot>,
    open: Snapshot,
    open_size: usize,
    bytes: usize,
}

impl Chunks {
    fn unchanged(&mut self, held: &Held) {
        self.room(held.name.len() + held.version.len() + 8);
        self.open.unchanged.push(held.clone());
    }

    fn resource(&mut self, sent: &Sent) {
        self.room(sent.size());
        self.bytes += sent.wire().body.len();
        self.open.resources.push(sent.wire().clone());
    }

    /// A chunk holds one resource at least, however large that is.
    fn room(&mut self, size: usize) {
        if self.open_size > 0 && self.open_size + size > CHUNK_BYTES {
            self.done.push(std::mem::take(&mut self.open));
            self.open_size = 0;
        }
        self.open_size += size;
    }
}

fn frame(snapshot: Snapshot) -> FromOperator {
    FromOperator {
        frame: Some(from_operator::Frame::Snapshot(snapshot)),
    }
}
