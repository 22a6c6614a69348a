//! A program of ours or another's, with its output in files, that ends with the test.
//!
//! The output goes to files rather than pipes: nothing has to read it for the
//! program to go on, and all of it can be searched at the end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::reaper;
use crate::wait::{Hopeless, eventually};

/// How many of the last lines a failure shows.
const TAIL_LINES: usize = 40;

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

// ---------------------------------------------------------------- impl Process

impl Process {
    /// Starts `command`; both its outputs go to `<dir>/<name>.log`, appended.
    pub fn spawn(name: &str, dir: &Path, command: &mut Command) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        reaper::guard(child.id());
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
            ended: None,
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of what it wrote, for a failure message.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(TAIL_LINES);
        format!(
            "--- last lines of {}\n{}",
            self.name,
            lines[from..].join("\n")
        )
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
            if self.ended.is_some() {
                reaper::release(self.child.id());
            }
        }
        self.ended
    }

    /// An error with its last words if it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => {
                let text = format!("{} ended: {status}\n{}", self.name, self.tail());
                Err(Hopeless(text).into())
            }
        }
    }

    /// Sends it a signal: `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status()?;
        if status.success() {
            Ok(())
        } else {
            bail!("no signal {signal} to {}", self.name)
        }
    }

    /// `SIGKILL`, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // Already gone is as good.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
            reaper::release(self.child.id());
        }
    }

    /// `SIGTERM`, and waits at most `cap` for its end.
    pub async fn stop(&mut self, cap: Duration) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait(cap).await
    }

    /// Waits at most `cap` for its end.
    pub async fn wait(&mut self, cap: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        let start = std::time::Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            if start.elapsed() > cap {
                bail!("waited {cap:?} for {what}\n{}", self.tail());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until its log has a line with `text`.
    pub async fn logs(&self, text: &str, cap: Duration) -> Result<()> {
        eventually(
            &format!("{:?} in the log of {}", text, self.name),
            cap,
            async || {
                if self.log().contains(text) {
                    Ok(())
                } else {
                    bail!("{}", self.tail())
                }
            },
        )
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
