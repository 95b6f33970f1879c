//! What is asked of whoever sits at the terminal. Secrets are not shown, and never come from the command line.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use sluice_runtime::host::failure::{Exit, Failure};
use zeroize::Zeroizing;

/// A new secret; on a terminal, asked for twice.
pub(super) fn new_secret(what: &str, from_stdin: bool) -> Result<Zeroizing<String>, Failure> {
    let first = secret(what, from_stdin)?;
    if !from_stdin && *secret(&format!("{what} again"), false)? != *first {
        return Err(Failure::new(Exit::Failed, "the two are not the same"));
    }
    Ok(first)
}

/// Asked for on the terminal and not shown, or a line of standard input.
pub(super) fn secret(what: &str, from_stdin: bool) -> Result<Zeroizing<String>, Failure> {
    if !from_stdin && !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Failed, format!("there is no terminal to ask for the {what}"))
            .remedy("Send it as a line of standard input, with --password-stdin."));
    }
    let _quiet = if io::stdin().is_terminal() {
        eprint!("{what}: ");
        Some(Quiet::new().map_err(|error| unread(what, &error))?)
    } else {
        None
    };
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line).map_err(|error| unread(what, &error))?;
    let kept = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if kept.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("no {what} was given"))
            .remedy("Type it, or send it as a line of standard input."));
    }
    Ok(kept)
}

/// Whether somebody at the terminal agrees. Without a terminal nobody does.
pub(super) fn agrees(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush().map_err(|error| unread("answer", &error))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| unread("answer", &error))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn unread(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot read the {what}")).because(error)
}

/// The terminal shows nothing until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nothing else to be done if the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        eprintln!();
    }
}
