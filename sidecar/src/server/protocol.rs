//! Which HTTP a client speaks.

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Handler, Shared};

/// What every HTTP/2 connection with prior knowledge begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a preface that comes in pieces, which none does in practice.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Looks at the first bytes and leaves them in the kernel: a connection on
    /// which nothing was sent yet costs no buffer. `None`: it ended, or nothing
    /// came for too long.
    pub(super) async fn peek<H: Handler>(stream: &TcpStream, shared: &Shared<H>) -> Option<Self> {
        let looking = timeout_at(Instant::now() + shared.limits.idle_for, look(stream));
        tokio::select! {
            found = looking => found.ok().flatten(),
            // A connection without a byte must not hold up the end.
            () = shared.drain.begun() => if shared.drain.has_begun() {
                timeout_at(Instant::now() + LOOK_AGAIN * 20, look(stream)).await.ok().flatten()
            } else {
                None
            },
        }
    }
}

async fn look(stream: &TcpStream) -> Option<Protocol> {
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut first).await.ok().filter(|n| *n > 0)?;
        match judge(&first[..seen]) {
            Some(protocol) => return Some(protocol),
            None => sleep(LOOK_AGAIN).await,
        }
    }
}

/// `None`: too few bytes to tell.
fn judge(first: &[u8]) -> Option<Protocol> {
    let common = first.len().min(PREFACE.len());
    if first[..common] != PREFACE[..common] {
        Some(Protocol::Http1)
    } else if common == PREFACE.len() {
        Some(Protocol::Http2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_is_http2() {
        assert_eq!(judge(b"POST /v1/chat"), Some(Protocol::Http1));
        assert_eq!(judge(b"P"), None);
        assert_eq!(judge(b"PRI * HTTP/2.0\r\n"), None);
        assert_eq!(judge(b"PRI * HTTP/1.1\r\n"), Some(Protocol::Http1));
        assert_eq!(judge(PREFACE), Some(Protocol::Http2));
    }
}
