//! Who is told what.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::advance;

use super::{Admin, Surface};
use crate::log::LogSwitch;
use crate::metrics::Metrics;
use crate::server::Drain;
use crate::table::fixture::{config, credential, of_provider, provider, snapshot};

fn admin() -> Admin {
    let log = LogSwitch::unused("info");
    Admin::new(config(), Metrics::new("test"), Drain::default(), Some(log))
}

async fn ask(
    admin: &Admin,
    surface: Surface,
    method: Method,
    path: &str,
    body: &'static str,
) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path);
    let request = request
        .body(Full::<bytes::Bytes>::from(body))
        .expect("a request");
    let answer = admin.answer(surface, request).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("in memory");
    let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
    (status, text)
}

async fn get(admin: &Admin, surface: Surface, path: &str) -> (StatusCode, String) {
    ask(admin, surface, Method::GET, path, "").await
}

#[tokio::test(start_paused = true)]
async fn ready_means_that_calls_are_served_and_alive_only_that_it_answers() {
    let admin = admin();
    let ready = async || get(&admin, Surface::Public, "/readyz").await;
    let (status, body) = ready().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("no config yet"), "{body}");
    admin.config.apply(snapshot([]));
    assert_eq!(ready().await.0, StatusCode::OK);
    admin.drain.begin();
    let (status, body) = ready().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("ending"), "{body}");
    let (status, _) = get(&admin, Surface::Public, "/livez").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn started_is_with_a_config_or_after_ten_seconds_without() {
    let (without, with) = (admin(), admin());
    let started = async |admin: &Admin| get(admin, Surface::Local, "/startup").await.0;
    assert_eq!(started(&with).await, StatusCode::SERVICE_UNAVAILABLE);
    with.config.apply(snapshot([]));
    assert_eq!(started(&with).await, StatusCode::OK);
    advance(Duration::from_millis(9_999)).await;
    assert_eq!(started(&without).await, StatusCode::SERVICE_UNAVAILABLE);
    advance(Duration::from_millis(1)).await;
    assert_eq!(started(&without).await, StatusCode::OK);
}

#[tokio::test]
async fn config_is_shown_on_loopback_only_and_without_secrets() {
    let admin = admin();
    admin.config.apply(snapshot([
        of_provider(provider("openai")),
        credential("openai", "sk-planted"),
    ]));
    let (status, body) = get(&admin, Surface::Local, "/config").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("shop/openai"), "{body}");
    assert!(!body.contains("planted"), "{body}");
    for path in ["/config", "/log-level", "/startup"] {
        let (status, body) = get(&admin, Surface::Public, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(body.contains("/metrics"), "{body}");
    }
    let (status, _) = get(&admin, Surface::Local, "/metrics").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn metrics_are_in_the_exposition_format() {
    let (status, body) = get(&admin(), Surface::Public, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("# TYPE llmroute_build_info"), "{body}");
}

#[tokio::test]
async fn how_much_is_logged_can_be_read_changed_and_taken_back() {
    let admin = admin();
    let put = async |body| ask(&admin, Surface::Local, Method::PUT, "/log-level", body).await;
    let read = async || get(&admin, Surface::Local, "/log-level").await.1;
    assert_eq!(read().await, "info\n");
    assert_eq!(put("debug\n").await, (StatusCode::OK, "debug\n".into()));
    let (status, body) = put("very=loud=indeed").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert_eq!(read().await, "debug\n");
    assert_eq!(put("").await, (StatusCode::OK, "info\n".into()));
}

#[tokio::test]
async fn nothing_else_changes_anything() {
    let admin = admin();
    for (surface, path) in [
        (Surface::Public, "/metrics"),
        (Surface::Public, "/readyz"),
        (Surface::Local, "/config"),
        (Surface::Local, "/log-level"),
    ] {
        let (status, _) = ask(&admin, surface, Method::POST, path, "").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}
