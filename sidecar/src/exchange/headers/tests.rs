//! What is a key, what is nominated, what stays behind.

use super::*;

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a header value")
}

#[test]
fn the_placeholder_is_known_in_each_of_its_forms() {
    for text in [
        "llmroute-placeholder",
        "Bearer llmroute-placeholder",
        "bearer  llmroute-placeholder ",
    ] {
        assert!(is_placeholder(&value(text)), "{text:?}");
    }
    for text in [
        "",
        "Bearer ",
        "Bearer sk-1",
        "llmroute-placeholder-2",
        "Basic llmroute",
    ] {
        assert!(!is_placeholder(&value(text)), "{text:?}");
    }
}

#[test]
fn every_line_of_connection_nominates() {
    let mut headers = HeaderMap::new();
    headers.append(CONNECTION, value("close, X-One"));
    headers.append(CONNECTION, value(" x-two "));
    let nominated = Nominated::by(&headers);
    for (name, is) in [("x-one", true), ("x-two", true), ("x-three", false)] {
        assert_eq!(
            nominated.contains(&HeaderName::from_static(name)),
            is,
            "{name}"
        );
    }
}

#[test]
fn an_answer_keeps_what_is_not_about_the_hop() {
    let mut headers = HeaderMap::new();
    for (name, text) in [
        ("connection", "x-hop, not a name"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("content-encoding", "gzip"),
        ("x-llmroute-route", "forged"),
        ("x-request-id", "req_1"),
    ] {
        headers.insert(HeaderName::from_static(name), value(text));
    }
    returned(&mut headers);
    let mut kept: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["content-encoding", "x-request-id"]);
}

#[test]
fn a_request_id_is_32_hex_digits_and_the_seed_decides() {
    let id = |seed| {
        RequestId::new(&mut Rng::with_seed(seed))
            .as_str()
            .to_owned()
    };
    assert_eq!(id(1).len(), 32);
    assert!(id(1).bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
}
