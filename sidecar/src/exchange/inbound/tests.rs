//! Bodies that are late, short, long, or in pieces.

use std::convert::Infallible;

use futures::stream;
use http::HeaderValue;
use http_body::Frame;
use http_body_util::{Empty, Full, StreamBody};
use tokio::time::Instant;

use super::*;

fn pieces(
    pieces: &[&'static str],
) -> StreamBody<impl stream::Stream<Item = Result<Frame<Bytes>, Infallible>> + use<>> {
    let frames: Vec<_> = pieces
        .iter()
        .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
        .collect();
    StreamBody::new(stream::iter(frames))
}

fn none() -> HeaderMap {
    HeaderMap::new()
}

#[tokio::test]
async fn pieces_are_joined_and_a_single_one_is_not_copied() {
    let body = Bytes::from(vec![b'x'; 5000]);
    let read_back = read(&none(), Full::new(body.clone()), || 0)
        .await
        .expect("fits");
    assert_eq!(read_back.as_ptr(), body.as_ptr());
    let joined = read(&none(), pieces(&["a", "", "bc", "d"]), || 0).await;
    assert_eq!(joined.expect("fits"), "abcd");
    let empty = read(&none(), Empty::<Bytes>::new(), || 0).await;
    assert!(empty.expect("fits").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let began = Instant::now();
    let late = read(&none(), never, || 0).await;
    assert!(matches!(late, Err(ApiError::BodyTimeout)), "{late:?}");
    assert_eq!(began.elapsed(), BODY_WITHIN);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_mistake() {
    let frames = [Ok(Frame::data(Bytes::from("{"))), Err("reset")];
    let short = read(&none(), StreamBody::new(stream::iter(frames)), || 0).await;
    assert!(matches!(short, Err(ApiError::BodyIncomplete)), "{short:?}");
}

#[tokio::test]
async fn the_limit_holds_whether_the_length_is_declared_or_not() {
    let long = Bytes::from(vec![b'x'; 100_000]);
    let mut declared = none();
    declared.insert(CONTENT_LENGTH, HeaderValue::from(100_000));
    for headers in [none(), declared] {
        let refused = read(&headers, Full::new(long.clone()), || 99_999).await;
        let told = matches!(refused, Err(ApiError::BodyTooLarge { limit: 99_999 }));
        assert!(told, "{refused:?}");
        let fits = read(&headers, Full::new(long.clone()), || 100_000).await;
        assert_eq!(fits.expect("fits").len(), 100_000);
    }
}

#[test]
fn json_is_known_by_its_type_whatever_its_parameters() {
    for json in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/vnd.api+json",
    ] {
        assert!(is_json(json.as_bytes()), "{json}");
    }
    for other in [
        "",
        "text/json",
        "application/jsonl",
        "multipart/form-data",
        "json",
    ] {
        assert!(!is_json(other.as_bytes()), "{other}");
    }
}
