//! The client's bytes with the two members exchanged that must differ upstream.

use std::ops::Range;

use bytes::Bytes;
use llmroute_protocol::Quirk;

use super::request::{Head, Options};
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
        RequestBody::from_pieces(self.pieces(head, body))
    }

    fn pieces(&self, head: &Head, body: &Bytes) -> [Bytes; 5] {
        let none = Edit::nothing(body.len());
        let mut edits = [
            self.model_edit(head).unwrap_or_else(|| none.clone()),
            self.options_edit(head, body).unwrap_or(none),
        ];
        if edits[1].place.start < edits[0].place.start {
            edits.swap(0, 1);
        }
        let [first, second] = edits;
        [
            body.slice(..first.place.start),
            first.text,
            body.slice(first.place.end..second.place.start),
            second.text,
            body.slice(second.place.end..),
        ]
    }

    fn model_edit(&self, head: &Head) -> Option<Edit> {
        if *head.model == *self.model {
            return None;
        }
        let quoted = serde_json::to_vec(self.model).expect("a string is always JSON");
        Some(Edit {
            place: head.places.model.clone(),
            text: quoted.into(),
        })
    }

    fn options_edit(&self, head: &Head, body: &[u8]) -> Option<Edit> {
        let options = head.places.stream_options.as_ref();
        match self.stream_options {
            StreamOptions::Keep => None,
            StreamOptions::Remove => options.map(|options| Edit {
                place: with_its_comma(options.member.clone(), body),
                text: Bytes::new(),
            }),
            StreamOptions::AskUsage => Some(ask_usage(options, head.places.first_member)),
        }
    }
}

/// An exchange: what stands at `place` becomes `text`.
#[derive(Clone, Debug)]
struct Edit {
    place: Range<usize>,
    text: Bytes,
}

impl Edit {
    const fn nothing(at: usize) -> Self {
        Self {
            place: at..at,
            text: Bytes::new(),
        }
    }

    fn new(place: Range<usize>, text: &'static str) -> Self {
        Self {
            place,
            text: Bytes::from_static(text.as_bytes()),
        }
    }
}

fn ask_usage(options: Option<&Options>, first_member: usize) -> Edit {
    let Some(options) = options else {
        // The object has another member: the model.
        return Edit::new(
            first_member..first_member,
            r#""stream_options":{"include_usage":true},"#,
        );
    };
    if options.null {
        return Edit::new(options.value.clone(), r#"{"include_usage":true}"#);
    }
    if let Some(place) = &options.include_usage {
        return Edit::new(place.clone(), "true");
    }
    let inside = options.value.start + 1;
    let text = if options.empty {
        r#""include_usage":true"#
    } else {
        r#""include_usage":true,"#
    };
    Edit::new(inside..inside, text)
}

/// A member and the comma that goes with it: the one behind, or for the last
/// member the one before. There is one, for the model is a member too.
fn with_its_comma(member: Range<usize>, body: &[u8]) -> Range<usize> {
    let visible = |byte: &u8| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let behind = body[member.end..].iter().position(visible);
    if let Some(distance) = behind
        && body[member.end + distance] == b','
    {
        return member.start..member.end + distance + 1;
    }
    let before = body[..member.start].iter().rposition(|&b| b == b',');
    before.unwrap_or(member.start)..member.end
}

#[cfg(test)]
mod tests;
