//! Ends what a test started when the test process is gone, however it went.
//!
//! A static is never dropped, a panic may abort and a `SIGKILL` runs nothing:
//! so one small shell reads the other end of a pipe, is told which processes
//! and folders are ours, and removes them when the pipe closes. It needs
//! no unsafe code and no parent-death signal, which follows threads, not
//! processes.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Reads `+pid PID`, `-pid PID` and `+dir PATH`, one a line; acts when there is no more to read.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids=' '
dirs=''
while read -r verb what; do
  case $verb in
    +pid) pids="$pids$what " ;;
    -pid) pids="${pids%% $what *} ${pids#* $what }" ;;
    +dir) dirs="$dirs $what" ;;
  esac
done
for pid in $pids; do kill -CONT "$pid"; kill -KILL "$pid"; done 2>/dev/null
sleep 0.2
rm -rf $dirs
"#;

/// The process must not outlive the tests.
pub fn guard(pid: u32) {
    tell(&format!("+pid {pid}"));
}

/// The process has ended and was waited for: its number may be another's soon.
pub fn release(pid: u32) {
    tell(&format!("-pid {pid}"));
}

/// The folder must not outlive the tests. Its path has no blanks.
pub fn guard_dir(dir: &Path) {
    tell(&format!("+dir {}", dir.display()));
}

fn tell(line: &str) {
    static REAPER: OnceLock<Mutex<Child>> = OnceLock::new();
    let reaper = REAPER.get_or_init(|| {
        let child = Command::new("bash")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash starts");
        Mutex::new(child)
    });
    let mut child = reaper.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = child.stdin.as_mut().expect("the pipe was asked for");
    writeln!(pipe, "{line}").expect("the reaper reads until we end");
}
