//! What a path asks for.

use std::borrow::Cow;

/// A call that costs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /chat/completions`.
    ChatCompletions,
    /// `POST /completions`, the legacy one.
    Completions,
    /// `POST /embeddings`.
    Embeddings,
    /// `POST /responses`.
    Responses,
}

/// A path of the OpenAI surface, with or without `/v1` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path<'a> {
    /// `POST` calls a model.
    Call(Operation),
    /// `GET` lists what may be called.
    Models,
    /// `GET` describes one model, whose name may hold slashes.
    Model(Cow<'a, str>),
}

// ---------------------------------------------------------------- impl Operation

impl Operation {
    /// All of them: what a table of paths or metrics is built from.
    pub const ALL: [Self; 4] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Embeddings,
        Self::Responses,
    ];

    /// Below the base URL of a provider.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Responses => "/responses",
        }
    }

    /// For labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Responses => "responses",
        }
    }

    /// True where a stream carries usage only if `stream_options` asks for it.
    pub(super) const fn usage_on_request(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Completions)
    }
}

// ---------------------------------------------------------------- impl Path

impl<'a> Path<'a> {
    /// Reads the path of a request. `None`: nothing of ours.
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = match path.strip_prefix("/v1") {
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        };
        // Some clients are given a base URL that ends in a slash.
        let path = path.strip_suffix('/').unwrap_or(path);
        if let Some(name) = path.strip_prefix("/models/") {
            return (!name.is_empty()).then(|| Self::Model(percent_decoded(name)));
        }
        if path == "/models" {
            return Some(Self::Models);
        }
        Operation::ALL
            .into_iter()
            .find(|operation| operation.path() == path)
            .map(Self::Call)
    }
}

/// SDKs escape the slash of `meta-llama/Llama-3`. What isn't a valid escape stays.
fn percent_decoded(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return Cow::Borrowed(name);
    }
    let bytes = name.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| name.get(at + 1..at + 3))
            .flatten()
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_with_and_without_v1() {
        for operation in Operation::ALL {
            let path = operation.path();
            for form in [path.to_owned(), format!("/v1{path}"), format!("/v1{path}/")] {
                assert_eq!(Path::parse(&form), Some(Path::Call(operation)), "{form}");
            }
        }
    }

    #[test]
    fn a_model_name_may_hold_slashes_escaped_or_not() {
        for form in ["/v1/models/a/b", "/models/a%2Fb", "/models/a%2fb"] {
            assert_eq!(Path::parse(form), Some(Path::Model("a/b".into())), "{form}");
        }
        assert_eq!(
            Path::parse("/models/50%"),
            Some(Path::Model("50%".into())),
            "a stray percent sign stays"
        );
    }

    #[test]
    fn other_paths_are_not_ours() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v2/models",
            "/v1models",
            "/v1/v1/models",
            "/chat",
            "/responses/resp_1",
            "/V1/models",
            "/v1//models",
            "/models/",
        ] {
            let found = Path::parse(path);
            assert!(
                found.is_none() || (path == "/models/" && found == Some(Path::Models)),
                "{path}: {found:?}"
            );
        }
    }
}
