//! The program as a user meets it before anything is sent: what it refuses, in which words and with which code.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const FILE: &str = "\
[Interface]
PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
Address = 10.77.0.2/32

[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
Endpoint = 127.0.0.1:9
AllowedIPs = 10.20.0.0/24
";

#[test]
fn help_shows_examples_and_exit_codes_for_the_program_and_each_command() {
    for arguments in [&["--help"][..], &["demo", "--help"], &["connect", "--help"]] {
        let told = sluice(arguments, "");
        let text = String::from_utf8_lossy(&told.stdout);
        assert!(
            told.status.success() && text.contains("Examples:") && text.contains("Exit codes:"),
            "{text}"
        );
    }
}

#[test]
fn wrong_usage_is_code_2() {
    for arguments in [
        &[][..],
        &["connect"],
        &["connect", "a.conf"],
        &["connect", "a.conf", "-L", "22"],
        &["demo", "--listen", "here"],
    ] {
        assert_eq!(sluice(arguments, "").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_wrong_or_cannot_be_read_is_code_3_with_line_field_and_expectation() {
    for (text, expected) in [
        (FILE.replace("10.77.0.2/32", "10.77.0"), "line 3: Address"),
        (FILE.replace("127.0.0.1:9", "127.0.0.1"), "line 7: Endpoint"),
        (String::new(), "there is no [Interface]"),
    ] {
        let told = sluice(&["connect", "-", "--socks", "0"], &text);
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(3), "{said}");
        assert!(said.contains(expected) && said.contains("do:"), "{said}");
    }
    let told = sluice(&["connect", "/nonexistent/a.conf", "--socks", "0"], "");
    assert_eq!(told.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&told.stderr).contains("/nonexistent/a.conf"));
}

#[test]
fn a_port_in_use_is_told_before_anything_is_sent() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let told = sluice(&["connect", "-", "-L", &format!("{port}:10.20.0.5:22")], FILE);
    let said = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on localhost:{port}")), "{said}");
}

#[test]
fn a_peer_that_does_not_answer_is_code_5_and_what_was_noticed_on_the_way_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("a.conf");
    std::fs::write(&path, FILE.replace("Address", "PostUp = true\nAddress")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let path = path.display().to_string();
    let told = sluice(&["connect", &path, "--socks", "0", "--timeout", "1", "--plain"], "");
    let (said, warned) = (String::from_utf8_lossy(&told.stderr), String::from_utf8_lossy(&told.stdout));
    assert_eq!(told.status.code(), Some(5), "{said}");
    assert!(said.contains("no answer from 127.0.0.1:9 within 1 s"), "{said}");
    assert!(warned.contains("world accessible") && warned.contains("line 3: PostUp"), "{warned}");
}

/// Runs the program with `input` as its standard input.
fn sluice(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(arguments).env_remove("SLUICE_TUNNEL").env("COLUMNS", "100");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // Who refuses its command line does not read its input.
    let _ = child.stdin.take().expect("its input is a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the program ends")
}
