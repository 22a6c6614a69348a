//! What a person reads: problems, statuses, what to try. One line is one write,
//! so that it mixes with a log at line ends only.

use std::io::{self, Write};

use serde_json::Value;

use super::plane::StatusChange;
use crate::manifests::Problem;

/// Where the lines go.
#[derive(Clone, Copy)]
pub(super) enum Terminal {
    Stdout,
    /// Standard output is taken: the access log goes there.
    Stderr,
}

// ------------------------------------------------------------ impl Terminal

impl Terminal {
    pub(super) fn line(self, text: &str) {
        // A file's own text must not move the cursor.
        let mut line: String = text
            .chars()
            .map(|c| {
                if c.is_control() && c != '\n' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        line.push('\n');
        // A closed terminal is no reason to end: calls go on.
        let _ = match self {
            Self::Stdout => write(io::stdout().lock(), &line),
            Self::Stderr => write(io::stderr().lock(), &line),
        };
    }

    pub(super) fn problem(self, problem: &Problem) {
        let message = &problem.message;
        self.line(&format!("{}: {message}", place(problem)));
    }

    pub(super) fn mended(self, problem: &Problem) {
        self.line(&format!("{}: in order again", place(problem)));
    }

    pub(super) fn status(self, change: &StatusChange) {
        let StatusChange { object, status } = change;
        match status {
            None => self.line(&format!("{object}: gone")),
            Some(status) => self.line(&format!("{object}:{}", conditions(status))),
        }
    }
}

fn write(mut to: impl Write, line: &str) -> io::Result<()> {
    to.write_all(line.as_bytes())?;
    to.flush()
}

fn place(problem: &Problem) -> String {
    let Problem {
        file,
        object,
        message: _,
    } = problem;
    let parts: Vec<_> = [file, object]
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(String::as_str)
        .collect();
    if parts.is_empty() {
        "manifests".to_owned()
    } else {
        parts.join(": ")
    }
}

/// All on one line, and below it why one isn't True. Ready repeats the others'.
fn conditions(status: &Value) -> String {
    let (mut line, mut below) = (String::new(), String::new());
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let text = |name: &str| condition[name].as_str().unwrap_or_default();
        let (name, state, message) = (text("type"), text("status"), text("message"));
        line.extend([" ", name, "=", state]);
        if state != "True" && name != llmroute_crds::condition::READY {
            below.extend(["\n    ", name, " ", text("reason"), ": ", message]);
        }
    }
    line + &below
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_true_comes_with_its_reason() {
        let status = json!({"conditions": [
            {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""},
            {"type": "ResolvedRefs", "status": "False", "reason": "SecretNotFound", "message": "no Secret shop/openai"},
            {"type": "Ready", "status": "False", "reason": "NotReady", "message": "ResolvedRefs is False"},
        ]});
        assert_eq!(
            conditions(&status),
            " Accepted=True ResolvedRefs=False Ready=False\n    ResolvedRefs SecretNotFound: no Secret shop/openai"
        );
    }
}
