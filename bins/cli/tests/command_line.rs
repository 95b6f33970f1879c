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
    for arguments in [
        &["--help"][..],
        &["demo", "--help"],
        &["connect", "--help"],
        &["login", "--help"],
        &["apply", "--help"],
        &["session", "--help"],
        &["device", "--help"],
    ] {
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
        &["login", "https://x", "--fingerprint", "A7"],
        &["apply"],
        &["get", "house"],
        &["session", "kill", "--reason", "so", "--yes"],
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
fn what_needs_a_login_is_code_6_without_one() {
    for arguments in [&["whoami"][..], &["get", "targets"], &["session", "list"], &["audit", "verify"]] {
        let told = sluice(arguments, "");
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(6), "{said}");
        assert!(said.contains("nobody is logged in") && said.contains("do:  sluice login"), "{said}");
    }
}

#[test]
fn a_password_comes_from_a_terminal_or_is_said_to_come_from_standard_input() {
    let fingerprint = "00".repeat(32);
    let told =
        sluice(&["login", "https://127.0.0.1:9", "--user", "a", "--fingerprint", &fingerprint], "secret\n");
    let said = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(1), "{said}");
    assert!(said.contains("--password-stdin"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_code_5() {
    let fingerprint = "00".repeat(32);
    let login = ["login", "https://127.0.0.1:9", "--user", "a", "--fingerprint", &fingerprint];
    let told = sluice(&[&login[..], &["--password-stdin"]].concat(), "secret\n");
    let said = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(5), "{said}");
    assert!(said.contains("cannot reach the server at 127.0.0.1:9") && !said.contains("secret"), "{said}");
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
    command.args(arguments).env("COLUMNS", "100").env("XDG_CONFIG_HOME", "/nonexistent");
    for variable in
        ["SLUICE_TUNNEL", "SLUICE_SERVER", "SLUICE_TOKEN", "SLUICE_FINGERPRINT", "SLUICE_ADMIN_TOKEN"]
    {
        command.env_remove(variable);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // Who refuses its command line does not read its input.
    let _ = child.stdin.take().expect("its input is a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the program ends")
}
