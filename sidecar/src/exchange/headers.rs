//! Which headers pass, in both directions, and the ones of our own.

use fastrand::Rng;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::call::{Call, Settled};
use crate::balance::Pick;
use crate::dialect::openai::Head;
use crate::table::Auth;

/// In place of a key, where injection had to put something: it is none.
pub(super) const PLACEHOLDER: &[u8] = b"llmroute-placeholder";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-llmroute-request-id");
const ROUTE: HeaderName = HeaderName::from_static("x-llmroute-route");
const TARGET: HeaderName = HeaderName::from_static("x-llmroute-target");
const PROVIDER: HeaderName = HeaderName::from_static("x-llmroute-provider");
const MODEL: HeaderName = HeaderName::from_static("x-llmroute-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-llmroute-attempts");
const CONFIG_VERSION: HeaderName = HeaderName::from_static("x-llmroute-config-version");
pub(super) const COST: HeaderName = HeaderName::from_static("x-llmroute-cost-usd");
pub(super) const USAGE: HeaderName = HeaderName::from_static("x-llmroute-usage");
/// How the client wants to learn the cost of a stream.
const COST_WISH: HeaderName = HeaderName::from_static("x-llmroute-cost");
/// Where SDKs look for the name of a request.
const SDK_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Tells SDKs that trying again was done already.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("llmroute/", env!("CARGO_PKG_VERSION")));
const NO: HeaderValue = HeaderValue::from_static("false");
const ESTIMATED: HeaderValue = HeaderValue::from_static("estimated");
/// Small numbers as header values, made at compile time.
static DIGITS: [HeaderValue; 10] = [
    HeaderValue::from_static("0"),
    HeaderValue::from_static("1"),
    HeaderValue::from_static("2"),
    HeaderValue::from_static("3"),
    HeaderValue::from_static("4"),
    HeaderValue::from_static("5"),
    HeaderValue::from_static("6"),
    HeaderValue::from_static("7"),
    HeaderValue::from_static("8"),
    HeaderValue::from_static("9"),
];

/// Names a call, in headers and logs: 32 hex digits.
#[derive(Clone, Copy)]
pub(super) struct RequestId([u8; 32]);

/// How the client wants to learn the cost of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CostWish {
    /// Not at all.
    #[default]
    None,
    /// As an HTTP trailer.
    Trailer,
    /// As a last SSE comment.
    Event,
}

// ---------------------------------------------------------------- impl RequestId

impl RequestId {
    pub(super) fn new(rng: &mut Rng) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 32];
        let random = rng.u128(..).to_be_bytes();
        for (pair, byte) in digits.chunks_exact_mut(2).zip(random) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Self(digits)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }

    /// The same call as a number, for what must be named by one.
    pub(super) fn number(&self) -> u64 {
        self.as_str()
            .get(..16)
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .unwrap_or_default()
    }

    fn header(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("hex digits are a header value")
    }
}

// ---------------------------------------------------------------- CostWish

impl CostWish {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get(COST_WISH).map(HeaderValue::as_bytes) {
            Some(b"trailer") => Self::Trailer,
            Some(b"event") => Self::Event,
            _ => Self::None,
        }
    }
}

// ---------------------------------------------------------------- to the upstream

/// What goes to the upstream of `pick`, of what the client sent.
pub(super) fn forwarded(client: &HeaderMap, pick: &Pick, head: &Head) -> HeaderMap {
    let passthrough = matches!(pick.provider.auth, Auth::Passthrough);
    let openai = &*pick.provider.kind == "openai";
    let mut headers = HeaderMap::with_capacity(client.len() + 4);
    let nominated = Nominated::by(client);
    for (name, value) in client {
        let passes = match class(name) {
            Class::Passes => !nominated.contains(name),
            Class::Never => false,
            Class::Key => passthrough && !is_placeholder(value) && !nominated.contains(name),
            // What an SDK says about itself is of use to its own vendor only.
            Class::Sdk => openai,
        };
        if passes {
            headers.append(name.clone(), value.clone());
        }
    }
    if !openai {
        headers.insert(USER_AGENT, AGENT);
    }
    // Compressed bytes could not be metered as they pass.
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    headers
        .entry(ACCEPT)
        .or_insert(HeaderValue::from_static(if head.stream {
            "text/event-stream"
        } else {
            "application/json"
        }));
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    if let (Auth::Credential { header, .. }, Some(credential)) =
        (&pick.provider.auth, &pick.credential)
    {
        headers.insert(header.clone(), credential.header().clone());
    }
    headers
}

enum Class {
    Passes,
    /// Hop by hop, ours, or about the way to us.
    Never,
    /// Who calls, or on whose account.
    Key,
    Sdk,
}

fn class(name: &HeaderName) -> Class {
    match name.as_str() {
        "host" | "content-length" | "expect" | "accept-encoding" | "cookie" | "forwarded"
        | "via" | "x-real-ip" | "baggage" | "origin" | "referer" => Class::Never,
        "authorization"
        | "x-api-key"
        | "api-key"
        | "x-goog-api-key"
        | "openai-organization"
        | "openai-project" => Class::Key,
        name if is_hop_by_hop(name)
            || name.starts_with("x-llmroute-")
            || name.starts_with("x-forwarded-")
            || name.starts_with("sec-") =>
        {
            Class::Never
        }
        name if name.starts_with("x-stainless-") => Class::Sdk,
        "user-agent" => Class::Sdk,
        _ => Class::Passes,
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// True where the value is the placeholder, bare or behind `Bearer `.
fn is_placeholder(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    let key = match value.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => key,
        _ => value,
    };
    key.trim_ascii() == PLACEHOLDER
}

/// Headers that `Connection` makes hop by hop.
struct Nominated<'h>(Option<&'h HeaderMap>);

impl<'h> Nominated<'h> {
    fn by(headers: &'h HeaderMap) -> Self {
        Self(headers.contains_key(CONNECTION).then_some(headers))
    }

    fn contains(&self, name: &HeaderName) -> bool {
        let Some(headers) = self.0 else { return false };
        headers.get_all(CONNECTION).iter().any(|value| {
            value.as_bytes().split(|b| *b == b',').any(|token| {
                token
                    .trim_ascii()
                    .eq_ignore_ascii_case(name.as_str().as_bytes())
            })
        })
    }
}

// ---------------------------------------------------------------- to the client

/// What of an upstream's head goes to the client, in place.
pub(super) fn returned(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let nominated: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|b| *b == b','))
            .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
            .collect();
        for name in nominated {
            headers.remove(name);
        }
    }
    let drop: Vec<HeaderName> = headers
        .keys()
        .filter(|name| stays_behind(name.as_str()))
        .cloned()
        .collect();
    for name in drop {
        headers.remove(name);
    }
}

/// About the hop behind us, or something that only we may say.
fn stays_behind(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            "content-length" | "set-cookie" | "alt-svc" | "strict-transport-security"
        )
        || name.starts_with("x-llmroute-")
}

/// Who served, after how many tries, under which config.
pub(super) fn told_by_us(headers: &mut HeaderMap, call: &Call) {
    let id = call.id.header();
    headers.entry(SDK_REQUEST_ID).or_insert_with(|| id.clone());
    headers.insert(REQUEST_ID, id);
    let Some(rule) = &call.rule else { return };
    headers.insert(ROUTE, rule.route.key.header().clone());
    headers.insert(CONFIG_VERSION, rule.route.config_version.clone());
    headers.insert(ATTEMPTS, number(call.tries()));
    if let Some(pick) = call.picked() {
        if let Some(target) = rule.targets.get(pick.target) {
            headers.insert(TARGET, target.name.header().clone());
        }
        headers.insert(PROVIDER, pick.provider.key.header().clone());
        headers.insert(MODEL, pick.model.name.header().clone());
    }
    if call.tries() > 1 {
        headers.insert(SHOULD_RETRY, NO);
    }
}

/// What the call cost, where that is known.
pub(super) fn cost(headers: &mut HeaderMap, settled: &Settled) {
    if let Some(cost) = settled.cost {
        headers.insert(COST, cost.header());
    }
    if settled.estimated {
        headers.insert(USAGE, ESTIMATED);
    }
}

fn number(n: u8) -> HeaderValue {
    match DIGITS.get(usize::from(n)) {
        Some(digit) => digit.clone(),
        None => HeaderValue::from(u16::from(n)),
    }
}

/// For a head whose body has a length that is known.
pub(super) fn length(headers: &mut HeaderMap, length: usize) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

#[cfg(test)]
mod tests;
