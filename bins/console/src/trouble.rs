//! Why a page is not shown, and what is shown in its place.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use sluice_api::Problem;

use crate::api::with_query;
use crate::guard::WINDOW;
use crate::shell::{Shell, page};

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody is logged in.
    LogIn {
        /// Where to go on afterwards.
        next: String,
    },
    /// The API says no.
    Problem(Box<Problem>),
    /// A bug of ours.
    Failed(&'static str),
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    shell: Shell,
    status: u16,
    title: String,
    detail: String,
    remedy: Option<String>,
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Trouble::LogIn { next } => {
                let next = if next == "/" { String::new() } else { next };
                let place = with_query("/login", [("next", next.as_str())]);
                let place = HeaderValue::from_str(&place).unwrap_or(HeaderValue::from_static("/login"));
                // A script that asks for a part of a page takes the browser there by the second header.
                let headers = [(LOCATION, place.clone()), (WINDOW, place)];
                (StatusCode::SEE_OTHER, headers).into_response()
            }
            Trouble::Problem(problem) => {
                let Problem { status, title, detail, remedy, .. } = *problem;
                shown(status, title, detail, remedy)
            }
            Trouble::Failed(why) => {
                tracing::error!(why, "a page could not be made");
                shown(500, "The console failed".to_owned(), "The server's log says more.".to_owned(), None)
            }
        }
    }
}

/// For paths that there are none of.
pub async fn not_found() -> Response {
    shown(404, "There is nothing here".to_owned(), "The page may have moved, or never been.".to_owned(), None)
}

fn shown(status: u16, title: String, detail: String, remedy: Option<String>) -> Response {
    let shell = Shell::bare(&title);
    let mut response = page(&TroublePage { shell, status, title, detail, remedy });
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
