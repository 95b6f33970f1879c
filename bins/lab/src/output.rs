//! What a finished command said.

use std::fmt;
use std::time::Duration;

/// A finished command: how it ended, what it printed, how long it took.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, as one would type it.
    pub command: String,
    /// The exit code; `None` when a signal or our deadline ended it.
    pub code: Option<i32>,
    /// Standard output, lossily decoded.
    pub stdout: String,
    /// Standard error, lossily decoded.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Output {
    /// True for exit code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The output itself if the command succeeded, else an error with everything it printed.
    pub fn ok(self) -> anyhow::Result<Output> {
        if self.succeeded() { Ok(self) } else { Err(anyhow::anyhow!("{self}")) }
    }

    /// Standard output and standard error, one after the other.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self
            .code
            .map_or_else(|| "ended by a signal or deadline".into(), |code| format!("exit code {code}"));
        write!(f, "`{}`: {end} after {:.1?}", self.command, self.took)?;
        for text in [&self.stdout, &self.stderr] {
            if !text.trim().is_empty() {
                write!(f, "\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}
