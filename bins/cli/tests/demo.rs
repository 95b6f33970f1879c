//! The demonstration as whoever runs the tests: no root, no namespace, nothing but this machine's loopback.

use std::process::{Command, Stdio};

#[test]
fn every_step_of_the_demo_succeeds_and_its_files_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(["demo", "--once", "--plain"]).env("TMPDIR", directory.path()).stdin(Stdio::null());
    let told = command.output().expect("the program starts");
    let (said, complained) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{said}{complained}");
    for expected in ["refused", "Hello from", "router sends", "connection reset", "All of it took"] {
        assert!(said.contains(expected), "{expected:?} is not said: {said}");
    }
    assert!(said.is_ascii(), "{said}");
    let left = std::fs::read_dir(directory.path()).expect("the directory").count();
    assert_eq!(left, 0, "files are left behind");
}
