//! The program as its users meet it: examples that are in order, exit codes, messages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");

#[test]
fn the_examples_pass_check_config() {
    for example in ["router.toml", "router-behind-gateway.toml"] {
        let directory = Scratch::new(example);
        let file = directory.copy(example);
        directory.secret("router.key", &genkey());
        let output = router(&["check-config", &file.display().to_string()]);
        assert!(output.status.success(), "{example}: {}", text(&output.stderr));
        assert!(text(&output.stdout).ends_with("in order\n"), "{}", text(&output.stdout));
    }
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let directory = Scratch::new("codes");
    let example = directory.copy("router.toml").display().to_string();
    for (arguments, code) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["reboot"], 2),
        (&["run"], 2),
        (&["check-config", &example], 3),
        (&["run", "--config", &example], 3),
        (&["check-config", "/nonexistent.toml"], 3),
        (&["--log-level", "", "status", "--admin-socket", "/nonexistent.sock"], 5),
        (&["wireguard", "a/b"], 1),
    ] {
        assert_eq!(router(arguments).status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_refused_configuration_says_where_what_and_what_to_do() {
    let directory = Scratch::new("refused");
    let example = directory.copy("router.toml").display().to_string();
    let said = text(&router(&["check-config", &example]).stderr);
    for expected in ["[node]: private_key_file", "what: ", "router.key: cannot be read", "do:   ", "genkey"] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn every_command_explains_itself() {
    for command in
        ["run", "check-config", "wireguard", "status", "flows", "explain", "session", "genkey", "pubkey"]
    {
        let output = router(&[command, "--help"]);
        assert!(output.status.success() && output.stdout.len() > 100, "{command}");
    }
}

#[test]
fn keys_are_those_of_wg() {
    let mut child = program().arg("pubkey").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let key = b"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n";
    child.stdin.take().unwrap().write_all(key).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=\n");
    assert_eq!((genkey().len(), genkey() == genkey()), (45, false));
}

fn genkey() -> String {
    text(&router(&["genkey"]).stdout)
}

fn router(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sluice-router"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-router-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn copy(&self, example: &str) -> PathBuf {
        let to = self.0.join(example);
        std::fs::copy(Path::new(EXAMPLES).join(example), &to).unwrap();
        to
    }

    fn secret(&self, name: &str, content: &str) {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(self.0.join(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
