//! What every daemon needs around a node: log, signals, service manager. Called by the binaries.

mod logging;
pub mod notify;
mod wake;

pub use self::logging::{BadLogFormat, LogError, LogFormat, LogLevel, check_filter, start_log};
pub use self::wake::{Wake, Waker, Wakes};
