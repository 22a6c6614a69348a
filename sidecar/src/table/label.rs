//! A name that is also sent as a header.

use http::HeaderValue;

use super::refusal::Refusal;

/// A name with its header value, made once when config is compiled.
#[derive(Clone, Debug)]
pub struct Label {
    text: Box<str>,
    header: HeaderValue,
}

impl Label {
    /// `text`, found at `path`; a control character is refused.
    pub(super) fn new(text: &str, path: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Refusal::new(path, "must not be empty"));
        }
        let header = HeaderValue::from_str(text)
            .or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
            .map_err(|_| Refusal::new(path, "holds a control character"))?;
        Ok(Self {
            text: text.into(),
            header,
        })
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name as a header value; cloning it copies no bytes.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
