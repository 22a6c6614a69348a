use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use llmroute_protocol::{Body, Credential, Route};

use super::*;

fn route(name: &str) -> Resource {
    let route = Route {
        namespace: "shop".into(),
        name: name.into(),
        ..Route::default()
    };
    Body::Route(route).into_resource()
}

fn credential(value: &'static str) -> Resource {
    let credential = Credential {
        provider: "shop/openai".into(),
        value: Bytes::from_static(value.as_bytes()),
        hash8: "12345678".into(),
    };
    Body::Credential(credential).into_resource()
}

fn cache(dir: &Path) -> Cache {
    Cache::new(Some(dir.to_owned()), true)
}

#[test]
fn what_was_stored_is_remembered_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let stored = vec![credential("sk-1"), route("b"), route("a")];
    cache(dir.path())
        .store(7, stored.clone())
        .expect("is written");
    let mut remembered = cache(dir.path()).load();
    assert_eq!(remembered.epoch, 7);
    remembered.resources.sort_by(|a, b| a.name.cmp(&b.name));
    let mut expected = stored;
    expected.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(remembered.resources, expected);
}

#[test]
fn secrets_stand_only_in_the_file_that_nobody_else_may_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let resources = vec![credential("sk-planted"), route("a")];
    cache(dir.path()).store(1, resources).expect("is written");
    let config = fs::read(dir.path().join(CONFIG)).expect("is there");
    let planted = |bytes: &[u8]| bytes.windows(10).any(|w| w == b"sk-planted");
    assert!(!planted(&config));
    let path = dir.path().join(CREDENTIALS);
    assert!(planted(&fs::read(&path).expect("is there")));
    let mode = fs::metadata(&path).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_leave_no_secret_is_written_or_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let both = vec![credential("sk-1"), route("a")];
    cache(dir.path()).store(1, both.clone()).expect("written");
    let off = Cache::new(Some(dir.path().to_owned()), false);
    assert_eq!(off.load().resources, [route("a")]);
    fs::remove_file(dir.path().join(CREDENTIALS)).expect("was there");
    off.store(1, both).expect("written");
    assert!(!dir.path().join(CREDENTIALS).exists());
}

#[test]
fn a_torn_edited_or_foreign_file_is_as_good_as_none() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join(CONFIG);
    cache(dir.path())
        .store(1, vec![route("a")])
        .expect("is written");
    let whole = fs::read(&path).expect("is there");
    for length in 0..whole.len() {
        assert!(file::parse(&whole[..length]).is_err(), "{length} bytes");
    }
    for at in 0..whole.len() {
        let mut edited = whole.clone();
        edited[at] ^= 1;
        assert!(file::parse(&edited).is_err(), "byte {at}");
    }
    fs::write(&path, b"hello").expect("writable");
    assert!(cache(dir.path()).load().resources.is_empty());
}

#[test]
fn a_rotated_credential_leaves_the_config_file_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = cache(dir.path());
    cache
        .store(1, vec![credential("sk-1"), route("a")])
        .expect("is written");
    fs::remove_file(dir.path().join(CONFIG)).expect("was there");
    cache
        .store(1, vec![credential("sk-2"), route("a")])
        .expect("is written");
    assert!(!dir.path().join(CONFIG).exists());
    assert_eq!(cache.load().resources, [credential("sk-2")]);
}

#[test]
fn a_volume_that_refuses_is_an_error_and_leaves_no_half_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let missing = dir.path().join("missing");
    assert!(cache(&missing).store(1, vec![route("a")]).is_err());
    assert!(cache(&missing).load().resources.is_empty());
    // A folder in the place of the file: the rename fails, the rest is cleaned up.
    fs::create_dir(dir.path().join(CONFIG)).expect("makes one");
    assert!(cache(dir.path()).store(1, vec![route("a")]).is_err());
    assert!(!dir.path().join("config.tmp").exists());
}
