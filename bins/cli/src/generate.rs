//! What is made of the description of the command line: completions for shells, man pages.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use sluice_runtime::host::failure::Failure;

use crate::command_line::{Cli, CompletionsOptions, ManOptions};

/// Prints the script that lets a shell complete the program's arguments.
pub(crate) fn completions(options: &CompletionsOptions) {
    let shell: Shell = options.shell;
    clap_complete::generate(shell, &mut Cli::command(), "sluice", &mut std::io::stdout());
}

/// Writes a man page for the program, and one for each of its commands.
pub(crate) fn man_pages(options: &ManOptions) -> Result<(), Failure> {
    let written = pages(&options.directory).map_err(|error| {
        Failure::of_system(format!("cannot write man pages to {}", options.directory.display()), &error)
    })?;
    for name in written {
        println!("{name}");
    }
    Ok(())
}

fn pages(directory: &Path) -> std::io::Result<Vec<String>> {
    std::fs::create_dir_all(directory)?;
    // Commands are built once, so that what is global stands in each of them.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut waiting = vec![(program, "sluice".to_owned())];
    let mut written = Vec::new();
    while let Some((command, name)) = waiting.pop() {
        let is_own = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
        let below = command.get_subcommands().filter(is_own);
        waiting.extend(below.map(|below| (below.clone(), format!("{name}-{}", below.get_name()))));
        let page = page(command, &name)?;
        let file = format!("{name}.1");
        std::fs::write(directory.join(&file), page)?;
        written.push(file);
    }
    written.sort();
    Ok(written)
}

fn page(command: Command, name: &str) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let command = command.display_name(name.to_owned());
    Man::new(command).source(concat!("sluice ", env!("CARGO_PKG_VERSION"))).render(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_man_page_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let written = pages(directory.path()).unwrap();
        for name in ["sluice.1", "sluice-session-open.1", "sluice-diff.1", "sluice-audit-tail.1"] {
            assert!(written.iter().any(|file| file == name), "{written:?} lacks {name}");
            let page = std::fs::read_to_string(directory.path().join(name)).unwrap();
            assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{page}");
        }
    }

    #[test]
    fn completions_know_the_commands_of_the_program() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sluice", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("describe") && script.contains("connector"), "{shell}");
        }
    }
}
