//! What administrators ask the running router beside `status` and `flows`.

use serde_json::Value;
use sluice_runtime::host::admin::{Request, ask, print};
use sluice_runtime::host::failure::Failure;

use crate::cli::{CloseOptions, ExplainOptions, OpenOptions, SessionCommand};
use crate::config::ADMIN_SOCKET_DEFAULT;

/// `explain`.
pub(crate) fn explain(options: &ExplainOptions) -> Result<(), Failure> {
    let path = options.report.admin.path(ADMIN_SOCKET_DEFAULT);
    print::explain(options.packet.join(" "), options.from.clone(), options.report.json, &path)
}

/// `session open` and `session close`.
pub(crate) fn session(command: &SessionCommand) -> Result<(), Failure> {
    match command {
        SessionCommand::Open(options) => open(options),
        SessionCommand::Close(options) => close(options),
    }
}

fn open(options: &OpenOptions) -> Result<(), Failure> {
    let (client_ip, target, seconds) = (options.client_ip, options.target.clone(), options.seconds);
    let path = options.admin.path(ADMIN_SOCKET_DEFAULT);
    let done = ask(&path, &Request::SessionOpen { client_ip, target, seconds }, |_| {})?;
    print_ids(&done["opened"]);
    Ok(())
}

fn close(options: &CloseOptions) -> Result<(), Failure> {
    let path = options.admin.path(ADMIN_SOCKET_DEFAULT);
    let done = ask(&path, &Request::SessionClose { id: options.id.clone() }, |_| {})?;
    print_ids(&done["closed"]);
    Ok(())
}

/// One a line, for scripts.
fn print_ids(ids: &Value) {
    for id in ids.as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("{id}");
    }
}
