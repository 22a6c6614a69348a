//! The binary as a process: what it does with a wrong command line, a cache, a
//! signal. No operator is there: nothing listens where it is told to connect.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use llmroute_protocol as proto;
use llmroute_protocol::{Body, Resource};
use llmroute_sidecar::cache::Cache;

/// Nothing here takes a tenth of it.
const SOON: Duration = Duration::from_secs(20);

/// Of no key: the session never gets so far.
const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

struct Sidecar {
    process: Child,
    calls: SocketAddr,
    admin: SocketAddr,
    local: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Sidecar {
    fn start(state: &Path, more: &[&str]) -> Self {
        let mut process = command()
            .args(["--operator", "127.0.0.1:9", "--token-file", "/nowhere"])
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--local-listen", "127.0.0.1:0", "--log-level", "trace"])
            .arg("--state-dir")
            .arg(state)
            .args(more)
            .env("LLMROUTE_CA_PEM", CA)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = process.stderr.take().expect("is piped");
        let log = Arc::<Mutex<String>>::default();
        let (found, listening) = mpsc::channel();
        let lines = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("\"listening\"") {
                    let _ = found.send(line.clone());
                }
                let mut log = lines.lock().expect("nobody panics with it");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let Ok(line) = listening.recv_timeout(SOON) else {
            let _ = process.kill();
            panic!("it doesn't listen: {:?}", log.lock());
        };
        let line: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
        let address = |field: &str| {
            let text = line[field].as_str().expect("is told");
            text.parse().expect("is an address")
        };
        Self {
            process,
            calls: address("listen"),
            admin: address("admin"),
            local: address("local"),
            log,
        }
    }

    fn chat(&self, model: &str) -> String {
        let body =
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        say(self.calls, &request)
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill is there").success());
    }

    fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < SOON {
            if let Some(status) = self.process.try_wait().expect("is ours") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it doesn't end: {}", self.log());
    }

    fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmroute-sidecar"));
    // Whatever the environment of the tests says is not meant for it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LLMROUTE_") {
            command.env_remove(name);
        }
    }
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the binary starts")
}

fn say(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).expect("is listened on");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("is answered");
    answer
}

fn get(from: SocketAddr, path: &str) -> String {
    say(
        from,
        &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
    )
}

/// A catch-all that the sidecar answers itself, and a provider with a key.
fn config() -> Vec<Resource> {
    let target = |provider: &str, priority| proto::Target {
        name: provider.into(),
        provider: format!("shop/{provider}"),
        weight: 1,
        priority,
        ..proto::Target::default()
    };
    let echo = proto::Target {
        model: "echo".into(),
        ..target("mock", 1)
    };
    let provider = |name: &str, dialect: proto::Dialect| proto::Provider {
        namespace: "shop".into(),
        name: name.into(),
        r#type: name.into(),
        dialect: dialect.into(),
        open_models: true,
        ..proto::Provider::default()
    };
    let openai = proto::Provider {
        base_url: "http://127.0.0.1:9/v1".into(),
        auth: Some(proto::Auth {
            r#type: proto::auth::Type::Credential.into(),
            header: "authorization".into(),
            prefix: "Bearer ".into(),
        }),
        ..provider("openai", proto::Dialect::Openai)
    };
    let route = proto::Route {
        namespace: "shop".into(),
        name: "chat".into(),
        generation: 3,
        rules: vec![proto::Rule {
            name: "any".into(),
            targets: vec![echo, target("openai", 0)],
            ..proto::Rule::default()
        }],
        ..proto::Route::default()
    };
    vec![
        Body::Route(route).into_resource(),
        Body::Provider(provider("mock", proto::Dialect::Mock)).into_resource(),
        Body::Provider(openai).into_resource(),
        Body::Credential(proto::Credential {
            provider: "shop/openai".into(),
            value: b"sk-planted".as_slice().into(),
            hash8: "01234567".into(),
        })
        .into_resource(),
    ]
}

fn state(resources: Vec<Resource>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = Cache::new(Some(dir.path().into()), true);
    cache.store(7, resources).expect("is writable");
    dir
}

#[test]
fn a_wrong_command_line_is_exit_code_64_and_says_what_is_wrong() {
    let wrong = output(command().args(["--listen", "nowhere"]));
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("--listen"), "{said}");
    let help = output(command().arg("--help"));
    assert_eq!(help.status.code(), Some(0), "{help:?}");
}

#[test]
fn an_access_log_that_can_not_be_written_is_a_wrong_command_line() {
    let wrong = output(
        command()
            .args(["--operator", "127.0.0.1:9", "--listen", "127.0.0.1:0"])
            .args(["--access-log", "/nowhere/at/all"])
            .env("LLMROUTE_CA_PEM", CA),
    );
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
}

#[test]
fn a_port_that_is_taken_is_told_and_ends_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|a| (taken, a)).expect("is bound");
    let state = state(Vec::new());
    let ended = output(
        command()
            .args([
                "--operator",
                "127.0.0.1:9",
                "--listen",
                &taken.1.to_string(),
            ])
            .arg("--state-dir")
            .arg(state.path())
            .env("LLMROUTE_CA_PEM", CA),
    );
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("no port for calls"), "{said}");
}

#[test]
fn without_operator_and_cache_it_says_so_and_goes_on() {
    let state = state(Vec::new());
    let mut sidecar = Sidecar::start(state.path(), &[]);
    let answer = sidecar.chat("echo");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("no_config"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after:"), "{answer}");
    assert!(get(sidecar.admin, "/livez").starts_with("HTTP/1.1 200 "));
    assert!(get(sidecar.admin, "/readyz").starts_with("HTTP/1.1 503 "));
    let local = sidecar.local.to_string();
    let probe = output(command().args(["probe", "--local-listen", &local]));
    assert_eq!(probe.status.code(), Some(1), "{probe:?}");
    assert!(String::from_utf8_lossy(&probe.stdout).contains("no config"));
    sidecar.signal("INT");
    assert!(sidecar.ends().success());
}

#[test]
fn from_its_cache_it_serves_at_once_and_shows_no_key_anywhere() {
    let state = state(config());
    let log = state.path().join("access.log");
    let log = log.to_str().expect("is text");
    let mut sidecar = Sidecar::start(state.path(), &["--access-log", log]);
    // OpenAI comes first and isn't there: the call fails over.
    let answer = sidecar.chat("gpt");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let local = sidecar.local.to_string();
    for extra in [&["probe"][..], &["probe", "--ready"]] {
        let probe = output(command().args(extra).args(["--local-listen", &local]));
        assert_eq!(probe.status.code(), Some(0), "{probe:?}");
    }
    let config = get(sidecar.local, "/config");
    assert!(config.contains("shop/openai"), "{config}");
    let metrics = get(sidecar.admin, "/metrics");
    assert!(metrics.contains("llmroute_requests_total"), "{metrics}");
    sidecar.signal("TERM");
    assert!(sidecar.ends().success());
    let lines = std::fs::read_to_string(log).expect("was written");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    for (what, text) in [
        ("answer", answer),
        ("config", config),
        ("metrics", metrics),
        ("access log", lines),
        ("log", sidecar.log()),
    ] {
        assert!(
            !text.contains("planted"),
            "the key is in the {what}: {text}"
        );
    }
}

#[test]
fn when_its_time_has_come_open_streams_go_on_and_new_calls_are_taken_until_the_drain_is_over() {
    let state = state(config());
    let mut sidecar = Sidecar::start(state.path(), &["--drain-seconds", "1"]);
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let mut stream = TcpStream::connect(sidecar.calls).expect("is listened on");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\
         content-type: application/json\r\nx-llmroute-mock: chunks=900,gap=100ms\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("is taken");
    let mut lines = BufReader::new(stream).lines();
    let first = lines.find(|line| line.as_ref().is_ok_and(|l| l.starts_with("data:")));
    assert!(first.is_some(), "no first chunk: {}", sidecar.log());
    let begun = Instant::now();
    sidecar.signal("TERM");
    while !get(sidecar.admin, "/readyz").contains("ending") {
        assert!(begun.elapsed() < SOON, "it isn't told that it ends");
    }
    let late = sidecar.chat("m");
    assert!(late.starts_with("HTTP/1.1 200 "), "{late}");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let told = rest.iter().any(|line| line.contains("shutting_down"));
    assert!(told, "the stream was cut without a word: {rest:?}");
    assert!(sidecar.ends().success());
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(900),
        "no time to finish: {took:?}"
    );
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_second_signal_does_not_wait() {
    let state = state(config());
    let mut sidecar = Sidecar::start(state.path(), &["--drain-seconds", "600"]);
    let mut idle = TcpStream::connect(sidecar.calls).expect("is listened on");
    let request = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
    idle.write_all(request.as_bytes()).expect("is taken");
    sidecar.signal("TERM");
    thread::sleep(Duration::from_millis(50));
    sidecar.signal("TERM");
    let begun = Instant::now();
    assert!(sidecar.ends().success());
    // Below the time that a client has for its head: that would end it, too.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "it waited {took:?}");
}
