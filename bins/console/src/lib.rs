//! The web console: pages for users and administrators. It knows nothing but the HTTP API: each page asks it in-process,
//! with the browser's own cookie, and does nothing that the API would not do for that browser.
//!
//! Nothing here decides who may do what. A page that the API refuses is an answer that says so.

mod api;
mod assets;
mod components;
mod form;
mod guard;
mod pages;
mod posted;
mod shell;
mod trouble;
mod visitor;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use http::Extensions;

pub use self::trouble::not_found;

/// Takes from a browser's request what the API must know of it beside its headers: where it came from.
pub type Carry = fn(from: &Extensions, to: &mut Extensions);

/// What all pages share.
#[derive(Clone)]
struct Console(Arc<Shared>);

struct Shared {
    api: Router,
    carry: Carry,
}

/// All pages, over the API's own router. What every request of a browser must pass (its host, whether another site sent
/// it, how much its source asks for) is the caller's to check, once, before both.
pub fn router(api: Router, carry: Carry) -> Router {
    let console = Console(Arc::new(Shared { api, carry }));
    pages::routes().layer(from_fn(guard::protect)).with_state(console)
}
