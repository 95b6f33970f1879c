//! Servers that nobody here wrote, each with a configuration and files of its own.

mod dns;
mod iperf;
mod nginx;
mod sshd;
mod syslog;

pub use dns::Dns;
pub use iperf::{Direction, Iperf, IperfReport, Load, Traffic};
pub use nginx::Nginx;
pub use sshd::Sshd;
pub use syslog::Syslog;
