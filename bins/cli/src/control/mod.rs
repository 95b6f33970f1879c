//! The commands of the control plane: who is logged in, objects, sessions, devices, the audit.

mod account;
mod audit;
mod client;
mod credentials;
mod device;
mod difference;
mod document;
mod explain;
mod flows;
mod import;
mod kind;
mod objects;
pub(crate) mod options;
mod output;
mod prompt;
mod session;
mod trust;

use std::process::ExitCode;
use std::time::Duration;

use sluice_runtime::host::arguments::LogOptions;
use sluice_runtime::host::failure::{Exit, Failure};

use self::client::Client;
use self::options::ImportCommand;
use crate::command_line::ControlCommand;
use crate::tasks;

/// How long tasks may take to notice that all is over.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Does it.
pub(crate) fn run(command: &ControlCommand, log: &LogOptions) -> Result<ExitCode, Failure> {
    log.start_or("error")?;
    let tasks = tasks::start()?;
    let outcome = tasks.block_on(perform(command));
    tasks.shutdown_timeout(END_LIMIT);
    outcome
}

async fn perform(command: &ControlCommand) -> Result<ExitCode, Failure> {
    if let ControlCommand::Login(options) = command {
        return account::log_in(options).await.map(|()| ExitCode::SUCCESS);
    }
    let client = &credentials::client()?;
    if let ControlCommand::Diff(options) = command {
        // 1 says that there is a difference, and nothing else.
        return objects::diff(client, options)
            .await
            .map_err(|failure| failure.not_as(Exit::Failed, Exit::Unreachable));
    }
    perform_as(client, command).await.map(|()| ExitCode::SUCCESS)
}

async fn perform_as(client: &Client, command: &ControlCommand) -> Result<(), Failure> {
    match command {
        ControlCommand::Login(_) | ControlCommand::Diff(_) => Ok(()),
        ControlCommand::Logout => account::log_out(client).await,
        ControlCommand::Whoami(format) => account::who_am_i(client, format).await,
        ControlCommand::Passwd(options) => account::set_password(client, options).await,
        ControlCommand::Token { command } => account::tokens(client, command).await,
        ControlCommand::Get(options) => {
            objects::get(client, options.kind, options.name.as_deref(), options.format.output).await
        }
        ControlCommand::Describe(options) => {
            objects::describe(client, options.kind, &options.name, options.format.output).await
        }
        ControlCommand::Create(options) => objects::create(client, options).await,
        ControlCommand::Export(options) => objects::export(client, options).await,
        ControlCommand::Import { command: ImportCommand::Privx(options) } => {
            import::privx(client, options).await
        }
        ControlCommand::Flows(options) => flows::run(client, options).await,
        ControlCommand::Explain(options) => explain::run(client, options).await,
        ControlCommand::Apply(options) => objects::apply(client, &options.files, options.dry_run).await,
        ControlCommand::Delete(options) => {
            objects::delete(client, options.kind, &options.name, options.yes).await
        }
        ControlCommand::Session { command } => session::run(client, command).await,
        ControlCommand::Device { command } => device::run(client, command).await,
        ControlCommand::Audit { command } => audit::run(client, command).await,
    }
}
