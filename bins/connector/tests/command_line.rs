//! The program as its users meet it: an example that is in order, exit codes, help.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");

#[test]
fn the_examples_pass_check_config_once_their_key_is_there() {
    for example in ["connector.toml", "connector-rootless.toml"] {
        let directory = std::env::temp_dir().join(format!("sluice-connector-cli-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("connector.toml");
        std::fs::copy(Path::new(EXAMPLES).join(example), &file).unwrap();
        assert_eq!(check(&file).status.code(), Some(3));
        write_key(&directory.join("connector.key"));
        let output = check(&file);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    for (arguments, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["run", "--help"], 0),
        (&["reboot"], 2),
        (&["check-config", "/nonexistent.toml"], 3),
        (&["status", "--admin-socket", "/nonexistent.sock"], 5),
    ] {
        assert_eq!(connector(arguments).status.code(), Some(code), "{arguments:?}");
    }
}

fn check(file: &Path) -> Output {
    connector(&["check-config", &file.display().to_string()])
}

fn write_key(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, &connector(&["genkey"]).stdout).unwrap();
}

fn connector(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice-connector")).args(arguments).output().unwrap()
}
