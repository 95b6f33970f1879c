//! A network namespace of one test's own: it holds nothing but a loopback interface and goes with its thread.
//! For tests that need privilege. Without it they fail in CI and are skipped, loudly, elsewhere.
#![allow(unsafe_code)]

use std::thread;

/// Runs the body on a thread in a fresh network namespace.
///
/// # Panics
/// When the body does, or when privilege is missing in CI.
pub(crate) fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    let thread = thread::Builder::new().name(test.clone()).spawn(move || {
        // SAFETY: plain system call; it moves this thread alone to a new network namespace.
        let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
        if moved && std::path::Path::new("/dev/net/tun").exists() {
            body();
        }
        moved
    });
    let moved = thread.expect("a thread").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if !moved {
        let in_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
        assert!(!in_ci, "{test} needs root");
        eprintln!("\n*** SKIPPED: {test} needs root (network namespaces, TUN) ***\n");
    }
}
