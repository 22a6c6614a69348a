//! What the operating system is told about this process.

/// Keeps keys out of core dumps and out of the reach of other processes of the
/// same user: a process that isn't dumpable leaves no core and can't be traced.
/// A kernel that refuses is no reason not to serve.
pub(crate) fn harden() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "the process stays dumpable");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn a_hardened_process_leaves_no_core() {
        harden();
        let now = dumpable_behavior().expect("the kernel knows");
        assert_eq!(now, DumpableBehavior::NotDumpable);
    }
}
