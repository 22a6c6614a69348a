//! An upstream that follows a script, byte by byte.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What it does with one request.
#[derive(Clone)]
pub(super) enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    Wait(Duration),
    /// Waits until the test lets it go on.
    Held(Arc<Notify>),
    /// Ends the connection in order.
    Close,
    /// Ends it with a reset.
    Reset,
    /// Says nothing more, for as long as the client stays.
    Hang,
    /// Sends these bytes again and again.
    Repeat(Vec<u8>, Duration),
}

pub(super) type Reply = Vec<Step>;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Upstream(Arc<Shared>);

struct Shared {
    port: u16,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// Connections that the client has ended.
    left: Arc<Notify>,
    script: Box<dyn Fn(usize) -> Reply + Send + Sync>,
}

impl Upstream {
    /// `script` says what to do with the nth request.
    pub(super) async fn new(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let upstream = Self(Arc::new(Shared {
            port: listener.local_addr().expect("bound").port(),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            left: Arc::new(Notify::new()),
            script: Box::new(script),
        }));
        let shared = upstream.0.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, SeqCst);
                tokio::spawn(shared.clone().serve(stream));
            }
        });
        upstream
    }

    /// Answers every request with `reply`.
    pub(super) async fn always(reply: Reply) -> Self {
        Self::new(move |_| reply.clone()).await
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.0.port)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().expect("unpoisoned").clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.0.connections.load(SeqCst)
    }

    /// Waits until the client has ended a connection that hung.
    pub(super) async fn left(&self) {
        self.0.left.notified().await;
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        while let Some(request) = read(&mut stream).await {
            let n = {
                let mut seen = self.seen.lock().expect("unpoisoned");
                seen.push(request);
                seen.len() - 1
            };
            for step in (self.script)(n) {
                match step {
                    Step::Send(bytes) => {
                        if stream.write_all(&bytes).await.is_err() {
                            self.left.notify_one();
                            return;
                        }
                    }
                    Step::Wait(time) => tokio::time::sleep(time).await,
                    Step::Held(gate) => gate.notified().await,
                    Step::Close => return,
                    Step::Reset => {
                        let _ = stream.set_zero_linger();
                        return;
                    }
                    Step::Hang => {
                        let _ = stream.read(&mut [0; 1]).await;
                        self.left.notify_one();
                        return;
                    }
                    Step::Repeat(bytes, pause) => loop {
                        if stream.write_all(&bytes).await.is_err() {
                            self.left.notify_one();
                            return;
                        }
                        tokio::time::sleep(pause).await;
                    },
                }
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is ASCII");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    let mut body = bytes.split_off(end);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { head, body })
}

/// A whole answer.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> Reply {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    vec![Step::Send([head.as_bytes(), body.as_bytes()].concat())]
}

/// A good answer to a chat, with a usage.
pub(super) const GOOD: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-2024","choices":[{"index":0,"message":{"role":"assistant","content":"Hello!"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;

pub(super) fn good() -> Reply {
    answer(200, "x-request-id: req_upstream\r\n", GOOD)
}

pub(super) fn failing(status: u16) -> Reply {
    answer(
        status,
        "",
        r#"{"error":{"message":"upstream says no","code":"x"}}"#,
    )
}

/// One chunk of a chunked body.
pub(super) fn chunk(data: &str) -> Step {
    Step::Send(format!("{:x}\r\n{data}\r\n", data.len()).into_bytes())
}

pub(super) fn stream_head() -> Step {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    Step::Send(head.into())
}

pub(super) fn last_chunk() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

pub(super) fn delta(text: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n"
    )
}

pub(super) const FINISH: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
pub(super) const USAGE: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}\n\n";
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// A good stream with a usage chunk.
pub(super) fn good_stream() -> Reply {
    vec![
        stream_head(),
        chunk(&delta("Hel")),
        chunk(&delta("lo")),
        chunk(FINISH),
        chunk(USAGE),
        chunk(DONE),
        last_chunk(),
    ]
}
