//! Parts of the command line that all our programs share.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::config::operations::OperationsSettings;
use super::failure::{Exit, Failure};
use super::operations::LogControl;
use crate::service::{self, LogFormat, LogLevel};

/// How to log.
#[derive(Clone, Debug, Default, Args)]
pub struct LogOptions {
    /// How log lines look: text for people, json for collectors. They go to standard error.
    #[arg(long, global = true, env = "SLUICE_LOG_FORMAT", default_value = "text", value_name = "text|json", value_parser = LogFormat::from_str)]
    pub log_format: LogFormat,

    /// What to log: error, warn, info, debug, trace, or by module: warn,router_core=debug.
    #[arg(long, global = true, env = "SLUICE_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl LogOptions {
    /// Starts logging. RUST_LOG counts where neither option, variable of ours nor the configuration says otherwise.
    ///
    /// # Errors
    /// If the level is none.
    pub fn start(&self, settings: &OperationsSettings) -> Result<LogControl, Failure> {
        let default = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
        let control = |level| LogControl { level, given: self.log_level.clone(), default: default.clone() };
        let filter = self.log_level.as_ref().or(settings.log_level.as_ref()).unwrap_or(&default);
        self.start_with(filter).map(control)
    }

    /// The same, with `default` where nothing is said.
    ///
    /// # Errors
    /// If the level is none.
    pub fn start_or(&self, default: &str) -> Result<(), Failure> {
        let from_rust = || std::env::var("RUST_LOG").ok();
        let filter = self.log_level.clone().or_else(from_rust).unwrap_or_else(|| default.to_owned());
        self.start_with(&filter).map(drop)
    }

    fn start_with(&self, filter: &str) -> Result<LogLevel, Failure> {
        service::start_log(self.log_format, filter)
            .map_err(|error| Failure::new(Exit::Configuration, "logging cannot be set up").because(&error))
    }
}

/// Which running program to ask.
#[derive(Clone, Debug, Args)]
pub struct AdminOptions {
    /// The admin socket of the running program.
    #[arg(long, value_name = "PATH", env = "SLUICE_ADMIN_SOCKET")]
    pub admin_socket: Option<PathBuf>,
}

impl AdminOptions {
    /// The socket's path.
    pub fn path(&self, default: &str) -> PathBuf {
        self.admin_socket.clone().unwrap_or_else(|| default.into())
    }
}

/// A report of the running program.
#[derive(Clone, Debug, Args)]
pub struct ReportOptions {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would become the command's help")]
    pub admin: AdminOptions,

    /// As JSON, with all there is.
    #[arg(long)]
    pub json: bool,
}

/// A report of flows.
#[derive(Clone, Debug, Args)]
pub struct FlowOptions {
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would become the command's help")]
    pub report: ReportOptions,

    /// At most so many.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    pub max: usize,
}

/// The configuration to run.
#[derive(Clone, Debug, Args)]
pub struct ConfigOption {
    /// The configuration file (TOML; docs/examples has one).
    #[arg(long, short, value_name = "FILE", env = "SLUICE_CONFIG")]
    pub config: PathBuf,
}

/// The configuration to check.
#[derive(Clone, Debug, Args)]
pub struct CheckOptions {
    /// The configuration file.
    #[arg(value_name = "FILE", required_unless_present = "config")]
    file: Option<PathBuf>,

    /// The same, as `run` takes it.
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
}

impl CheckOptions {
    /// The file; the command line parser sees to it that one of the two is there.
    pub fn path(&self) -> PathBuf {
        self.file.clone().or_else(|| self.config.clone()).unwrap_or_default()
    }
}
