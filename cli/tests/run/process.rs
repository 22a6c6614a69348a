//! The binary as a process, and the little HTTP that the tests speak. Every
//! wait has an end; what is started is ended with its handle.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long anything may take; builds of neighbours may hold the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

/// `llmroute run`, serving.
pub(crate) struct Running {
    child: std::sync::Mutex<Child>,
    dir: PathBuf,
    said: PathBuf,
    _files: TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

fn command(dir: &Path, said: &Path, options: &[&str]) -> Command {
    let said = fs::File::create(said).expect("a file for the output");
    let mut command = Command::new(env!("CARGO_BIN_EXE_llmroute"));
    command.arg("run").arg(dir);
    for (option, any) in [("--listen", "127.0.0.1:0"), ("--admin", "127.0.0.1:0")] {
        if !options.contains(&option) {
            command.args([option, any]);
        }
    }
    command.args(options).env_clear().stdin(Stdio::null());
    command
        .stdout(said.try_clone().expect("a second handle"))
        .stderr(said);
    command
}

/// Runs to its end: the exit code and all that was said.
pub(crate) fn ends(dir: &Path, options: &[&str]) -> (Option<i32>, String) {
    let files = tempfile::tempdir().expect("a folder");
    let said = files.path().join("said");
    let mut child = command(dir, &said, options)
        .spawn()
        .expect("the binary starts");
    let code = exit_of(&mut child);
    (code, fs::read_to_string(said).expect("the output reads"))
}

fn exit_of(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status.code();
        }
        thread::sleep(STEP);
    }
    child.kill().expect("killed");
    panic!("still running after {PATIENCE:?}");
}

impl Running {
    /// Over a folder that is there.
    pub(crate) fn over(dir: &Path, options: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start(
            dir.to_owned(),
            tempfile::tempdir().expect("a folder"),
            options,
            env,
        )
    }

    /// Over a folder of its own with these files.
    pub(crate) fn with(files: &[(&str, &str)], options: &[&str], env: &[(&str, &str)]) -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        let dir = temporary.path().join("manifests");
        fs::create_dir(&dir).expect("made");
        for (name, text) in files {
            fs::write(dir.join(name), text).expect("written");
        }
        Self::start(dir, temporary, options, env)
    }

    fn start(dir: PathBuf, files: TempDir, options: &[&str], env: &[(&str, &str)]) -> Self {
        let said = files.path().join("said");
        let child = command(&dir, &said, options)
            .envs(env.iter().copied())
            .spawn();
        let child = child.expect("the binary starts").into();
        let running = Self {
            child,
            dir,
            said,
            _files: files,
        };
        running.says("serving on");
        running
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// As an editor does it: a new file in the place of the old.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.dir.join(format!(".{name}.new"));
        fs::write(&new, text).expect("written");
        fs::rename(new, self.dir.join(name)).expect("renamed");
    }

    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.said).expect("the output reads")
    }

    /// Waits until it has said this.
    pub(crate) fn says(&self, text: &str) {
        self.eventually(text, |running| running.output().contains(text));
    }

    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(
                Instant::now() < end,
                "not within {PATIENCE:?}: {what}\n{}",
                self.output()
            );
            thread::sleep(STEP);
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let output = self.output();
        let at = output
            .split("serving on http://")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        at.and_then(|at| at.trim().parse().ok())
            .expect("it says where it serves")
    }

    pub(crate) fn chat(&self, model: &str, more: &str) -> Answer {
        Answer::read(self.begin(model, more, ""))
    }

    /// A call of which nothing was read yet.
    pub(crate) fn begin(&self, model: &str, more: &str, headers: &str) -> TcpStream {
        let body = format!(
            r#"{{"model": "{model}", {more}"messages": [{{"role": "user", "content": "hello"}}]}}"#
        );
        let mut stream = TcpStream::connect(self.address()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("sent");
        stream
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let id = self.child.lock().expect("not poisoned").id();
        let sent = Command::new("kill")
            .args(["-INT", &id.to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    pub(crate) fn exit(&self) -> Option<i32> {
        exit_of(&mut self.child.lock().expect("not poisoned"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Answer {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = if head.contains("transfer-encoding: chunked") {
            joined(body)
        } else {
            body.to_owned()
        };
        Self {
            status: status.unwrap_or_default(),
            head: head.to_owned(),
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, value)| value)
    }
}

/// The body of a chunked answer.
fn joined(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    body
}

/// A provider that answers every call alike and passes on what it heard.
pub(crate) fn upstream() -> (SocketAddr, mpsc::Receiver<String>) {
    const BODY: &str = r#"{"id":"x","object":"chat.completion","created":1,"model":"echo","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, heard) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&request).ends_with("]}") {
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            let _ = tell.send(String::from_utf8_lossy(&request).into_owned());
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
                BODY.len()
            );
        }
    });
    (address, heard)
}
