//! The pages, one file for each section, and where they are.

mod access;
mod account;
mod approvals;
mod audit;
mod devices;
mod entry;
mod explain;
mod guide;
mod health;
mod map;
mod objects;
mod sessions;
mod targets;
mod words;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};

use crate::{Console, assets};

/// All of them.
pub(crate) fn routes() -> Router<Console> {
    let routes =
        objects::Kind::ALL.into_iter().fold(Router::new(), |all, kind| all.merge(objects::routes(kind)));
    routes
        .route("/", get(|| async { Redirect::to("/access") }))
        .route("/assets/{name}", get(assets::serve))
        .route("/favicon.ico", get(assets::favicon))
        .route("/login", get(entry::log_in_page).post(entry::log_in))
        .route("/logout", post(entry::log_out))
        .route("/first-admin", get(entry::first_admin_page).post(entry::first_admin))
        .route("/theme", post(account::set_theme))
        .route("/account", get(account::show))
        .route("/account/password", post(account::change_password))
        .route("/account/tokens", post(account::make_token))
        .route("/account/tokens/revoke", post(account::revoke_token))
        .route("/access", get(access::show))
        .route("/access/open", post(access::open))
        .route("/access/ask", post(access::ask))
        .route("/access/extend", post(access::extend))
        .route("/access/close", post(access::close))
        .route("/guide", get(guide::show))
        .route("/devices", get(devices::show))
        .route("/devices/new", get(devices::new).post(devices::add))
        .route("/devices/remove", get(devices::ask_remove).post(devices::remove))
        .route("/approvals", get(approvals::show).post(approvals::decide))
        .route("/sessions", get(sessions::show))
        .route("/sessions/end", get(sessions::ask_end).post(sessions::end))
        .route("/sessions/{id}", get(sessions::detail))
        .route("/targets/new", get(targets::new).post(targets::save))
        .route("/targets/preview", post(targets::preview))
        .route("/targets/{id}", get(targets::show).post(targets::save))
        .route("/targets/{id}/switch", post(targets::switch))
        .route("/users/{id}/password", post(objects::set_password))
        .route("/audit", get(audit::show))
        .route("/audit/verify", post(audit::verify))
        .route("/explain", get(explain::show))
        .route("/health", get(health::show))
        .route("/map", get(map::show))
}
