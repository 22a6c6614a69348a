//! How much of everything: nothing that a client can make grow is without an end.

use std::time::Duration;

/// The bounds of the server. `default` is what the operator runs with.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TCP connections, with or without a session.
    pub connections: usize,
    /// Welcomed streams.
    pub sessions: usize,
    /// For the TLS handshake; and for the Hello, once the token was reviewed.
    pub handshake: Duration,
    /// A connection without a stream is closed after so long.
    pub idle: Duration,
    /// A ping is sent so often.
    pub ping: Duration,
    /// A sidecar that sent nothing for so long is given up.
    pub dead: Duration,
    /// A pod that the watch doesn't show is looked at so often.
    pub look: Duration,
    /// Such looks at a time.
    pub looks: usize,
    /// A push that nobody answered for so long counts as stale.
    pub stale: Duration,
    /// Streams and connections get so long to end after the goodbye.
    pub drain: Duration,
    /// `TokenReview`s a second.
    pub reviews_per_second: u32,
    /// A positive review is good for so long.
    pub review_cache: Duration,
    /// Frames of one stream that wait for the client.
    pub frames_queued: usize,
}

/// A sidecar's frames are small: the longest is a Hello that lists what it holds.
pub(super) const MAX_INBOUND_BYTES: usize = 1024 * 1024;
/// Streams of one connection: a session, the question for the epoch, and room.
pub(super) const MAX_STREAMS: u32 = 4;
/// Request heads: a token is 1 to 2 KiB.
pub(super) const MAX_HEAD_BYTES: u32 = 16 * 1024;
/// Per stream and connection: acks are small.
pub(super) const WINDOW_BYTES: u32 = 64 * 1024;
/// Reviews and seats that are remembered.
pub(super) const MAX_REMEMBERED: usize = 20_000;
/// A path in an ack, in bytes.
pub(super) const MAX_PATH: usize = 256;
/// A message in an ack, in bytes.
pub(super) const MAX_MESSAGE: usize = 512;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 12_000,
            sessions: 10_000,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(20),
            ping: Duration::from_secs(15),
            dead: Duration::from_secs(45),
            look: Duration::from_secs(10),
            looks: 16,
            stale: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            reviews_per_second: 300,
            review_cache: Duration::from_mins(1),
            frames_queued: 4,
        }
    }
}
