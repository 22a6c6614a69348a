use std::sync::Arc;

use llmroute_protocol::{Body, Global, Key, Kind, Welcome, set_hash};

use super::*;
use crate::upstream::Upstreams;

fn follower() -> Follower {
    Follower::new(Config::new(Arc::new(Upstreams::new(true))), 3)
}

fn global(level: &str) -> Resource {
    Body::Global(Global {
        log_level: level.into(),
        ..Global::default()
    })
    .into_resource()
}

fn hash(resources: &[Resource]) -> Bytes {
    let keys: Vec<_> = resources
        .iter()
        .map(|r| Key::new(r.kind(), r.name.clone()))
        .collect();
    set_hash(
        keys.iter()
            .zip(resources.iter().map(|r| r.version.as_str())),
    )
}

fn welcome(epoch: u64) -> Frame {
    Frame::Welcome(Welcome {
        epoch,
        ..Welcome::default()
    })
}

fn snapshot(epoch: u64, seq: u64, resources: &[Resource]) -> Snapshot {
    Snapshot {
        epoch,
        seq,
        resources: resources.to_vec(),
        unchanged: Vec::new(),
        hash: hash(resources),
        last: true,
    }
}

fn protocol_error(step: Step) -> &'static str {
    match step {
        Step::Close(Close::Protocol(what)) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_is_applied_and_acknowledged_by_resource() {
    let mut follower = follower();
    assert_eq!(follower.take(Some(welcome(3))), Step::Welcomed);
    let resources = [global("debug")];
    let step = follower.take(Some(Frame::Snapshot(snapshot(3, 1, &resources))));
    let Step::Applied(ack) = step else {
        panic!("{step:?}")
    };
    assert_eq!((ack.epoch, ack.seq, ack.results.len()), (3, 1, 1));
    assert_eq!(ack.results[0].version, resources[0].version);
}

#[test]
fn chunks_are_applied_only_when_the_last_has_come() {
    let mut follower = follower();
    follower.take(Some(welcome(3)));
    let resources = [global("debug")];
    let whole = snapshot(3, 1, &resources);
    let first = Snapshot {
        last: false,
        ..whole.clone()
    };
    let second = Snapshot {
        resources: Vec::new(),
        ..whole
    };
    assert_eq!(follower.take(Some(Frame::Snapshot(first))), Step::Alive);
    assert!(follower.config.held().is_empty());
    let step = follower.take(Some(Frame::Snapshot(second)));
    assert!(matches!(step, Step::Applied(_)), "{step:?}");
    assert_eq!(follower.config.held().len(), 1);
}

#[test]
fn a_leader_of_the_past_is_not_followed() {
    let mut follower = follower();
    let close = Close::OldEpoch {
        epoch: 2,
        followed: 3,
    };
    assert_eq!(follower.take(Some(welcome(2))), Step::Close(close));
    assert_eq!(follower.max_epoch(), 3);
}

#[test]
fn frames_out_of_place_end_the_stream() {
    let resources = [global("debug")];
    let config = |epoch, seq| Some(Frame::Snapshot(snapshot(epoch, seq, &resources)));
    let mut early = follower();
    assert_eq!(
        protocol_error(early.take(config(3, 1))),
        "config before Welcome"
    );
    let mut foreign = follower();
    foreign.take(Some(welcome(4)));
    assert_eq!(
        protocol_error(foreign.take(config(3, 1))),
        "config of another epoch"
    );
    let mut back = follower();
    back.take(Some(welcome(3)));
    back.take(config(3, 2));
    assert_eq!(
        protocol_error(back.take(config(3, 2))),
        "a sequence that went back"
    );
    let mut twice = follower();
    twice.take(Some(welcome(3)));
    assert_eq!(
        protocol_error(twice.take(Some(welcome(3)))),
        "a second Welcome"
    );
}

#[test]
fn a_delta_changes_what_it_names_and_no_more() {
    let mut follower = follower();
    follower.take(Some(welcome(3)));
    follower.take(Some(Frame::Snapshot(snapshot(3, 1, &[global("debug")]))));
    let new = global("info");
    let delta = Delta {
        epoch: 3,
        seq: 2,
        upserts: vec![new.clone()],
        removed: Vec::new(),
        hash: hash(std::slice::from_ref(&new)),
    };
    let step = follower.take(Some(Frame::Delta(delta)));
    assert!(matches!(step, Step::Applied(_)), "{step:?}");
    let held = follower.config.held();
    assert_eq!(held.len(), 1);
    assert_eq!(
        (held[0].kind(), held[0].version.as_str()),
        (Kind::Global, new.version.as_str())
    );
}

#[test]
fn a_hash_that_differs_ends_the_stream() {
    let mut follower = follower();
    follower.take(Some(welcome(3)));
    let wrong = Snapshot {
        hash: Bytes::from_static(b"other"),
        ..snapshot(3, 1, &[global("debug")])
    };
    let step = follower.take(Some(Frame::Snapshot(wrong)));
    assert_eq!(step, Step::Close(Close::Differs));
}

#[test]
fn a_snapshot_without_end_is_cut_off() {
    let mut follower = follower();
    follower.take(Some(welcome(3)));
    let held = Held {
        kind: Kind::Route.into(),
        name: "s/r".into(),
        version: "v".into(),
    };
    let chunk = Snapshot {
        last: false,
        unchanged: vec![held; 5_000],
        ..snapshot(3, 1, &[])
    };
    for _ in 0..4 {
        let step = follower.take(Some(Frame::Snapshot(chunk.clone())));
        assert_eq!(step, Step::Alive);
    }
    let step = follower.take(Some(Frame::Snapshot(chunk)));
    assert_eq!(protocol_error(step), "a snapshot without end");
}

#[test]
fn a_notice_says_why_and_for_how_long() {
    let notice = Notice {
        reason: Reason::NotLeader.into(),
        reconnect_after_ms: 500,
        message: "x".repeat(10_000),
    };
    let Step::Close(Close::Told {
        reason,
        after,
        message,
    }) = follower().take(Some(Frame::Notice(notice)))
    else {
        panic!("not told")
    };
    assert_eq!(reason, Reason::NotLeader);
    assert_eq!(after, Duration::from_millis(500));
    assert_eq!(message.len(), 512);
}

#[test]
fn a_frame_of_a_newer_operator_is_a_sign_of_life() {
    assert_eq!(follower().take(None), Step::Alive);
}
