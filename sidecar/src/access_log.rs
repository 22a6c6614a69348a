//! One line of JSON a call, for machines; docs/access-log.md lists the fields.
//!
//! A line is written into a buffer in memory, and a thread of its own carries
//! the buffer to its file: a call never waits for a disk, and a disk that
//! doesn't keep up costs lines, which are counted, not memory. No field can
//! hold a prompt, an answer or a key: there is none for them.

mod time;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::meter::Usage;
use time::Rfc3339;

#[cfg(test)]
mod tests;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `-`: the standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// The log; cloned freely. Its default is off.
#[derive(Clone, Default)]
pub struct AccessLog(Option<Arc<Writer>>);

/// One call.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// When it came.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// As in `x-llmroute-request-id`.
    pub request_id: &'a str,
    /// `chat_completions`, `completions`, `embeddings`, `responses`, `models`; null: no such path.
    pub operation: Option<&'a str>,
    /// The client's status; 499: it left before an answer.
    pub status: u16,
    /// `success`, `client_error`, `server_error`, `broken`, `cancelled`.
    pub end: &'static str,
    /// `error.code`, where the answer is ours.
    pub error: Option<&'a str>,
    /// `namespace/name@generation`.
    pub route: Option<Joined<'a>>,
    /// Its rule.
    pub rule: Option<&'a str>,
    /// The target that answered, or was tried last.
    pub target: Option<&'a str>,
    /// Its provider.
    pub provider: Option<&'a str>,
    /// As asked for.
    pub requested_model: Option<&'a str>,
    /// As the provider names it.
    pub model: Option<&'a str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Each try, in order.
    pub attempts: &'a [Attempt<'a>],
    /// Tokens by kind; null where no upstream answered.
    pub tokens: Option<Tokens>,
    /// `reported` or `estimated`.
    pub usage: Option<&'static str>,
    /// In pico-USD; null: unknown.
    pub cost_pico_usd: Option<u128>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body that went to the client.
    pub response_bytes: u64,
    /// Milliseconds until the first byte of the answer.
    pub first_byte_ms: Option<Millis>,
    /// Milliseconds in all.
    pub duration_ms: Millis,
}

/// `namespace/name@generation`.
#[derive(Clone, Copy, Debug)]
pub struct Joined<'a>(pub &'a str, pub i64);

/// Milliseconds with three decimals.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub Duration);

/// One try.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt<'a> {
    /// Where to.
    pub target: &'a str,
    /// `answered`, a retry cause, `unauthorized`, `refused`, `cancelled`.
    pub end: &'static str,
    /// The upstream's status, if it came to one.
    pub status: Option<u16>,
    /// How long it took until it was decided.
    pub duration_ms: Millis,
}

/// Usage in its normal form.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tokens {
    input: u64,
    cached_input: u64,
    cache_write: u64,
    cache_write_long: u64,
    output: u64,
    reasoning: u64,
}

/// What waits for the disk. A line has some 700 bytes: this is half a second
/// of three thousand calls a second.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Lines are gathered so long before they are written: one wake-up and one
/// write for all of them.
const GATHER: Duration = Duration::from_millis(20);

/// Dropped with the last handle of the log: the thread writes what is left and ends.
struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    changed: Condvar,
    written: Condvar,
    reopen: AtomicBool,
}

#[derive(Default)]
struct Buffer {
    lines: Vec<u8>,
    writing: bool,
    closed: bool,
}

// ---------------------------------------------------------------- impl AccessLog

impl AccessLog {
    /// No log.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Opens the destination and starts the thread that writes to it.
    pub fn open(destination: &Destination) -> io::Result<Self> {
        let sink = Sink::open(destination)?;
        let shared = Arc::<Shared>::default();
        let thread = {
            let shared = shared.clone();
            thread::Builder::new()
                .name("access-log".into())
                .spawn(move || shared.carry(sink))?
        };
        Ok(Self(Some(Arc::new(Writer {
            shared,
            thread: Mutex::new(Some(thread)),
        }))))
    }

    /// True where lines are wanted: an entry need not be made otherwise.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Takes a line down. False where it was lost for lack of room.
    pub fn write(&self, entry: &Entry<'_>) -> bool {
        let Some(writer) = &self.0 else { return true };
        let shared = &writer.shared;
        let mut buffer = shared.buffer();
        if buffer.lines.len() >= BUFFER_BYTES {
            return false;
        }
        let begin = buffer.lines.len();
        if serde_json::to_writer(&mut buffer.lines, entry).is_err() {
            buffer.lines.truncate(begin);
            return false;
        }
        buffer.lines.push(b'\n');
        if begin == 0 {
            shared.changed.notify_one();
        }
        true
    }

    /// Opens the file anew before the next line: it may have been rotated.
    pub fn reopen(&self) {
        if let Some(writer) = &self.0 {
            writer.shared.reopen.store(true, Relaxed);
        }
    }

    /// Waits until everything is written. Blocks: for the end of the process.
    pub fn flush(&self) {
        let Some(writer) = &self.0 else { return };
        let shared = &writer.shared;
        let mut buffer = shared.buffer();
        while !buffer.lines.is_empty() || buffer.writing {
            shared.changed.notify_one();
            let waited = shared.written.wait_timeout(buffer, GATHER * 2);
            buffer = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

// ---------------------------------------------------------------- impl Shared

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's work.
    fn carry(&self, mut sink: Sink) {
        let mut lines = Vec::new();
        loop {
            let mut buffer = self.buffer();
            while buffer.lines.is_empty() && !buffer.closed {
                let woken = self.changed.wait(buffer);
                buffer = woken.unwrap_or_else(PoisonError::into_inner);
            }
            let closed = buffer.closed;
            drop(buffer);
            if !closed {
                thread::sleep(GATHER);
            }
            let mut buffer = self.buffer();
            std::mem::swap(&mut lines, &mut buffer.lines);
            buffer.writing = true;
            let closed = buffer.closed;
            drop(buffer);
            if self.reopen.swap(false, Relaxed) {
                sink.reopen();
            }
            sink.write(&lines);
            lines.clear();
            self.buffer().writing = false;
            self.written.notify_all();
            if closed {
                return;
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.buffer().closed = true;
        self.shared.changed.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

// ---------------------------------------------------------------- Sink

struct Sink {
    destination: Destination,
    file: Option<File>,
    failing: bool,
}

impl Sink {
    fn open(destination: &Destination) -> io::Result<Self> {
        Ok(Self {
            file: open(destination)?,
            destination: destination.clone(),
            failing: false,
        })
    }

    fn reopen(&mut self) {
        match open(&self.destination) {
            Ok(file) => self.file = file,
            Err(error) => {
                tracing::warn!(error = %error.kind(), "the access log could not be opened anew");
            }
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let written = if let Some(file) = &mut self.file {
            file.write_all(lines)
        } else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines).and_then(|()| stdout.flush())
        };
        // Once, not once a line: whoever reads stderr is told, not flooded.
        let failing = written.is_err();
        if let (Err(error), false) = (written, self.failing) {
            tracing::warn!(error = %error.kind(), "the access log could not be written");
        }
        self.failing = failing;
    }
}

fn open(destination: &Destination) -> io::Result<Option<File>> {
    match destination {
        Destination::Stdout => Ok(None),
        Destination::File(path) => {
            let mut options = OpenOptions::new();
            options.create(true).append(true).open(path).map(Some)
        }
    }
}

// ---------------------------------------------------------------- fields

impl FromStr for Destination {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

impl From<&Usage> for Tokens {
    fn from(usage: &Usage) -> Self {
        let &Usage {
            input,
            cached,
            cache_write,
            cache_write_long,
            output,
            reasoning,
            vendor_cost: _,
            quality: _,
        } = usage;
        Self {
            input,
            cached_input: cached,
            cache_write,
            cache_write_long,
            output,
            reasoning,
        }
    }
}

impl Serialize for Joined<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}@{}", self.0, self.1))
    }
}

impl Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let micros = u32::try_from(self.0.as_micros()).unwrap_or(u32::MAX);
        serializer.serialize_f64(f64::from(micros) / 1000.0)
    }
}

fn rfc3339<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Rfc3339(*time))
}
