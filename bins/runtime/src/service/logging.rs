//! Log output: text for people, JSON for collectors, always on standard error. Read first: tracing-subscriber.
//! Called by the binaries, first thing in `main`.

use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

/// How log lines look (`--log-format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text per event; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// Not a log format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log format: text or json")]
pub struct BadLogFormat(pub String);

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is no level and no filter.
    #[error("`{filter}` is not a log level: {source}")]
    Filter {
        /// What was asked for.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody set a log up before.
    #[error("a log is set up already")]
    Twice,
    /// The log that this was of has ended.
    #[error("there is no log any more")]
    Gone,
}

impl FromStr for LogFormat {
    type Err = BadLogFormat;

    fn from_str(format: &str) -> Result<LogFormat, BadLogFormat> {
        match format {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(BadLogFormat(other.to_owned())),
        }
    }
}

/// What is logged from now on. Cloning it is cheap, and both are the same.
#[derive(Clone)]
pub struct LogLevel(Arc<dyn Fn(EnvFilter) -> bool + Send + Sync>);

impl LogLevel {
    /// Logs by another filter.
    ///
    /// # Errors
    /// If it is none; then everything is as before.
    pub fn set(&self, filter: &str) -> Result<(), LogError> {
        if (self.0)(parse(filter)?) { Ok(()) } else { Err(LogError::Gone) }
    }
}

/// Starts logging. `filter` is a level (`info`) or a list of them by module (`warn,sluice_runtime=debug`).
pub fn start_log(format: LogFormat, filter: &str) -> Result<LogLevel, LogError> {
    let log = tracing_subscriber::fmt().with_env_filter(parse(filter)?).with_writer(io::stderr);
    let (result, level) = match format {
        LogFormat::Text => {
            let log = log.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let handle = log.reload_handle();
            (log.try_init(), LogLevel(Arc::new(move |filter| handle.reload(filter).is_ok())))
        }
        LogFormat::Json => {
            let log = log.json().with_ansi(false).with_filter_reloading();
            let handle = log.reload_handle();
            (log.try_init(), LogLevel(Arc::new(move |filter| handle.reload(filter).is_ok())))
        }
    };
    result.map(|()| level).map_err(|_| LogError::Twice)
}

/// Whether a text says what to log.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_two_names() {
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!("xml".parse::<LogFormat>().is_err());
    }

    #[test]
    fn a_filter_that_is_none_is_refused_before_anything_is_set_up() {
        let error = start_log(LogFormat::Text, "sluice=loud").err().expect("no level");
        assert!(matches!(error, LogError::Filter { .. }));
    }
}
