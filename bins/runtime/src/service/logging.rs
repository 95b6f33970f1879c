//! Log output: text for people, JSON for collectors, always on standard error. Read first: tracing-subscriber.
//! Called by the binaries, first thing in `main`.

use std::io::{self, IsTerminal};
use std::str::FromStr;

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

/// Starts logging. `filter` is a level (`info`) or a list of them by module (`warn,sluice_runtime=debug`).
pub fn start_log(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    let log = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(io::stderr);
    let result = match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().with_ansi(false).try_init(),
    };
    result.map_err(|_| LogError::Twice)
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
        let error = start_log(LogFormat::Text, "sluice=loud").expect_err("no level");
        assert!(matches!(error, LogError::Filter { .. }));
    }
}
