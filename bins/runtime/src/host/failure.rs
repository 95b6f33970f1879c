//! How a program ends that could not do its job: what, why, what to do, and an exit code for scripts.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use super::config::Problems;

/// Exit codes, the same for all our programs. 2, wrong usage, is given by the command line parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something failed while running.
    Failed = 1,
    /// The configuration is refused.
    Configuration = 3,
    /// A privilege, a device file or a tool is missing.
    Missing = 4,
    /// No running program answers on the admin socket.
    Unreachable = 5,
    /// Nobody is logged in, or no longer.
    NotLoggedIn = 6,
    /// Access is refused.
    Refused = 7,
}

/// For `--help`: the codes as `main` gives them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed while running
  2  wrong usage
  3  configuration refused
  4  missing privilege, device file or tool
  5  no running program answers on the admin socket";

/// Why the program ends.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    why: Option<String>,
    remedy: Option<String>,
}

impl Failure {
    /// Ends with `exit`, saying `what` failed.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, remedy: None }
    }

    /// The cause, with its own causes.
    #[must_use]
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |&error| error.source());
        self.why = Some(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "));
        self
    }

    /// The cause, where its text names all there is.
    #[must_use]
    pub fn because_text(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// What the reader is to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Something of the system is denied to us: [`Exit::Missing`] if it is a matter of rights or of a file that is
    /// not there, else [`Exit::Failed`].
    pub fn of_system(what: impl Into<String>, error: &std::io::Error) -> Self {
        let missing =
            matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotFound);
        let failure = Self::new(if missing { Exit::Missing } else { Exit::Failed }, what).because(error);
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            return failure.remedy("Run as root, or grant CAP_NET_ADMIN.");
        }
        failure
    }

    /// With code `other` in place of `code`, where that one has another meaning.
    #[must_use]
    pub fn not_as(mut self, code: Exit, other: Exit) -> Self {
        if self.exit == code {
            self.exit = other;
        }
        self
    }

    /// Says it on standard error and gives the code for `main` to return.
    pub fn report(&self) -> ExitCode {
        eprintln!("{self}");
        ExitCode::from(self.exit as u8)
    }

    /// The code it ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n  why: {why}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  do:  {remedy}")?;
        }
        Ok(())
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::new(Exit::Configuration, problems.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_why_and_what_to_do() {
        let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let failure = Failure::of_system("cannot create interface wg0", &error);
        assert_eq!(failure.exit(), Exit::Missing);
        assert_eq!(
            failure.to_string(),
            "error: cannot create interface wg0\n  why: permission denied\n  do:  Run as root, or grant CAP_NET_ADMIN."
        );
    }
}
