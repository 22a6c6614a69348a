//! The mock's body: chunks with pauses between them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

/// The mock broke its own connection, as it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mock cut its answer")]
pub struct MockCut;

/// Stands where an upstream's body would.
#[derive(Debug, Default)]
pub struct MockBody {}

impl Body for MockBody {
    type Data = Bytes;
    type Error = MockCut;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, MockCut>>> {
        Poll::Ready(None)
    }
}
