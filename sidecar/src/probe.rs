//! `llmroute-sidecar probe`: asks the sidecar of the same container, for the
//! kubelet, whose own probes come from outside and can't reach loopback.
//!
//! Standard library only, no runtime: it runs each second while a pod starts.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Below the kubelet's own limit of 1 s, so that the reason is still told.
const WITHIN: Duration = Duration::from_millis(800);
/// The answer is a line or two.
const MAX_ANSWER_BYTES: u64 = 4096;

/// Asks at `local`, whether it is started or ready.
pub fn run(local: SocketAddr, ready: bool) -> ExitCode {
    let path = if ready { "/readyz" } else { "/startup" };
    let said = ask(local, path);
    // The kubelet shows what a failed probe wrote.
    match &said {
        Ok(answer) if is_yes(answer) => return ExitCode::SUCCESS,
        Ok(answer) => tell(answer.rsplit("\r\n\r\n").next().unwrap_or_default().trim()),
        Err(error) => tell(&format!("no answer at {local}: {error}")),
    }
    ExitCode::FAILURE
}

fn ask(local: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&local, WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

fn is_yes(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
}

fn tell(what: &str) {
    let _ = writeln!(io::stdout(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answered(answer: &'static str) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = std::thread::spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut head = [0; 1024];
            let _ = stream.read(&mut head)?;
            stream.write_all(answer.as_bytes())
        });
        let said = ask(address, "/startup");
        server.join().expect("the server ends")?;
        said
    }

    #[test]
    fn only_a_200_is_a_yes() {
        let yes = answered("HTTP/1.1 200 OK\r\n\r\nstarted\n").expect("an answer");
        assert!(is_yes(&yes));
        let no = answered("HTTP/1.1 503 Service Unavailable\r\n\r\nno config yet\n");
        assert!(!is_yes(&no.expect("an answer")));
    }

    #[test]
    fn nobody_there_is_an_error_and_no_wait() {
        let gone = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        assert!(ask(gone.expect("a port"), "/startup").is_err());
    }
}
