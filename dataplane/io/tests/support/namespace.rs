//! A network namespace for one test: it lives as long as the test's thread and what that opened,
//! so there is nothing to clean up.

use std::process::Command;
use std::thread;

/// Runs a test in a namespace of its own, with `lo` up. Fails where that is not allowed.
pub(crate) fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: touches no memory; only this thread moves.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            let error = std::io::Error::last_os_error();
            assert_eq!(result, 0, "a network namespace needs root: {error}");
            ip("link set lo up");
            test()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// `ip` with these arguments, in the namespace of the calling thread.
pub(crate) fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {arguments}: {error}");
}
