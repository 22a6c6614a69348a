//! Tells when a folder may read differently.
//!
//! The kernel's notices come first; a look at names, sizes and times every two
//! seconds finds what they miss: a folder that is itself a symlink and is
//! swapped, files that are symlinks to elsewhere, a network file system.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout_at},
};

/// A save is several events: it is read once they pause, ...
const QUIET: Duration = Duration::from_millis(50);
/// ... but at the latest after this, however busy the folder is.
const LATEST: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_secs(2);

/// Watches one folder.
pub(super) struct Watch {
    dir: PathBuf,
    notices: mpsc::Receiver<()>,
    notify: mpsc::Sender<()>,
    watcher: Option<RecommendedWatcher>,
    last: Fingerprint,
    looks: tokio::time::Interval,
}

/// The folder's inode, and each entry's name, inode, size and time.
#[derive(Default, PartialEq)]
struct Fingerprint {
    dir: Option<(u64, u64)>,
    entries: Vec<(std::ffi::OsString, u64, u64, Option<SystemTime>)>,
}

// --------------------------------------------------------------- impl Watch

impl Watch {
    /// Watches from now on.
    pub(super) fn new(dir: &Path) -> Self {
        // One notice is enough to look; more needn't wait in line.
        let (notify, notices) = mpsc::channel(1);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.reset();
        let mut watch = Self {
            dir: dir.to_owned(),
            notices,
            notify,
            watcher: None,
            last: Fingerprint::of(dir),
            looks,
        };
        watch.attach();
        watch
    }

    /// Returns when the folder may read differently. Cancelling loses nothing
    /// that the next look doesn't find.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::select! {
                notice = self.notices.recv() => {
                    // `self.notify` keeps the channel open.
                    if notice.is_some() {
                        self.settle().await;
                        self.last = Fingerprint::of(&self.dir);
                        return;
                    }
                }
                _ = self.looks.tick() => {
                    let now = Fingerprint::of(&self.dir);
                    if now != self.last {
                        if now.dir != self.last.dir {
                            self.attach();
                        }
                        self.last = now;
                        return;
                    }
                }
            }
        }
    }

    async fn settle(&mut self) {
        let latest = Instant::now() + LATEST;
        while Instant::now() < latest {
            let quiet = (Instant::now() + QUIET).min(latest);
            if timeout_at(quiet, self.notices.recv()).await.is_err() {
                return;
            }
        }
    }

    /// Asks the kernel for notices; where it has none to give, the looks remain.
    fn attach(&mut self) {
        let notify = self.notify.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                let _ = notify.try_send(());
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(&self.dir, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::debug!(%error, "no notices of changes: looking every two seconds");
        }
        self.watcher = watcher.ok();
    }
}

/// Our own reading of the files makes events too.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(mode)) => mode == notify::event::AccessMode::Write,
        EventKind::Access(_) => false,
        _ => true,
    }
}

// --------------------------------------------------------- impl Fingerprint

impl Fingerprint {
    fn of(dir: &Path) -> Self {
        let identity = fs::metadata(dir).map(|m| (m.dev(), m.ino())).ok();
        let mut entries: Vec<_> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                // Through symlinks: what is read is what counts.
                let metadata = fs::metadata(entry.path()).ok()?;
                Some((
                    entry.file_name(),
                    metadata.ino(),
                    metadata.len(),
                    metadata.modified().ok(),
                ))
            })
            .collect();
        entries.sort_unstable();
        Self {
            dir: identity,
            entries,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::time::timeout;

    use super::*;

    async fn sees_a_change(dir: &Path, act: impl FnOnce()) -> bool {
        let mut watch = Watch::new(dir);
        act();
        timeout(Duration::from_secs(10), watch.changed())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_written_file_a_removed_one_and_a_renamed_one_are_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let (a, b) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
        assert!(sees_a_change(dir.path(), || fs::write(&a, "x").expect("written")).await);
        assert!(sees_a_change(dir.path(), || fs::rename(&a, &b).expect("renamed")).await);
        assert!(sees_a_change(dir.path(), || fs::remove_file(&b).expect("removed")).await);
    }

    #[tokio::test]
    async fn a_swapped_symlink_is_seen_inside_the_folder_and_in_its_place() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        for of in [&one, &two] {
            fs::create_dir(of).expect("made");
            fs::write(of.join("a.yaml"), of.to_string_lossy().as_bytes()).expect("written");
        }
        let link = dir.path().join("link");
        symlink(&one, &link).expect("linked");
        let swap = |to: &Path| {
            let new = dir.path().join("new");
            symlink(to, &new).expect("linked");
            fs::rename(&new, &link).expect("swapped");
        };
        assert!(
            sees_a_change(&link, || swap(&two)).await,
            "the folder itself"
        );
        // As a volume of a ConfigMap does it.
        let volume = dir.path().join("volume");
        fs::create_dir(&volume).expect("made");
        symlink(&link, volume.join("..data")).expect("linked");
        symlink("..data/a.yaml", volume.join("a.yaml")).expect("linked");
        assert!(
            sees_a_change(&volume, || swap(&one)).await,
            "below the folder"
        );
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("a.yaml");
        fs::write(&file, "x").expect("written");
        let mut watch = Watch::new(dir.path());
        for _ in 0..3 {
            fs::read_dir(dir.path()).expect("read").count();
            fs::read(&file).expect("read");
        }
        assert!(
            timeout(Duration::from_millis(700), watch.changed())
                .await
                .is_err()
        );
    }
}
