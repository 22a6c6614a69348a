//! The lines, as a reader of the file finds them.

use super::*;

fn entry<'a>(attempts: &'a [Attempt<'a>]) -> Entry<'a> {
    Entry {
        time: SystemTime::UNIX_EPOCH,
        request_id: "00ff",
        operation: Some("chat_completions"),
        status: 200,
        end: "success",
        error: None,
        route: Some(Joined("shop/chat", 7)),
        rule: Some("all"),
        target: Some("openai"),
        provider: Some("shop/openai"),
        requested_model: Some("chat"),
        model: Some("gpt-4o"),
        stream: true,
        attempts,
        tokens: Some(Tokens::from(&Usage::estimated(3, 4))),
        usage: Some("estimated"),
        cost_pico_usd: Some(12_345),
        request_bytes: 10,
        response_bytes: 20,
        first_byte_ms: Some(Millis(Duration::from_micros(1500))),
        duration_ms: Millis(Duration::from_millis(20)),
    }
}

fn lines(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).expect("the log is there");
    let parse = |line| serde_json::from_str(line).expect("each line is JSON");
    text.lines().map(parse).collect()
}

#[test]
fn a_line_is_one_json_object_with_the_documented_fields() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let log = AccessLog::open(&Destination::File(path.clone())).expect("opens");
    let attempts = [Attempt {
        target: "openai",
        end: "answered",
        status: Some(200),
        duration_ms: Millis(Duration::from_millis(2)),
    }];
    assert!(log.write(&entry(&attempts)));
    log.flush();
    let lines = lines(&path);
    assert_eq!(lines.len(), 1);
    let line = lines[0].as_object().expect("an object");
    assert_eq!(line["route"], "shop/chat@7");
    assert_eq!(line["tokens"]["output"], 4);
    assert_eq!(line["first_byte_ms"], 1.5);
    assert_eq!(line["attempts"][0]["end"], "answered");
    let documentation = include_str!("../../../docs/access-log.md");
    for field in line.keys() {
        let row = format!("| `{field}` |");
        assert!(
            documentation.contains(&row),
            "docs/access-log.md lacks {field}"
        );
    }
}

#[test]
fn what_was_taken_down_is_written_when_the_log_is_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let log = AccessLog::open(&Destination::File(path.clone())).expect("opens");
    for _ in 0..100 {
        assert!(log.clone().write(&entry(&[])));
    }
    drop(log);
    assert_eq!(lines(&path).len(), 100);
}

#[test]
fn a_disk_that_is_too_slow_costs_lines_and_not_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = AccessLog::open(&Destination::File(dir.path().join("log"))).expect("opens");
    let writer = log.0.as_ref().expect("it is on");
    // As it is while the thread waits for the disk.
    writer.shared.buffer().lines = vec![b'\n'; BUFFER_BYTES];
    assert!(!log.write(&entry(&[])));
    log.flush();
    assert!(log.write(&entry(&[])));
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let log = AccessLog::open(&Destination::File(path.clone())).expect("opens");
    log.write(&entry(&[]));
    log.flush();
    std::fs::rename(&path, dir.path().join("access.log.1")).expect("renamed");
    log.reopen();
    log.write(&entry(&[]));
    log.flush();
    assert_eq!(lines(&path).len(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_once() {
    let nowhere = Destination::File("/nonexistent/llmroute/log".into());
    assert!(AccessLog::open(&nowhere).is_err());
    assert_eq!("-".parse(), Ok(Destination::Stdout));
}
