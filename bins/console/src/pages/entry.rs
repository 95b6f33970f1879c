//! Coming in and going out: login, logout, the first administrator.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, Method};
use serde_json::json;
use sluice_api::LoggedIn;

use crate::form::{Field, Form, Input};
use crate::posted::Posted;
use crate::shell::{Shell, Shown, onward, page};
use crate::trouble::Trouble;
use crate::visitor::{Browser, Visitor};

#[derive(Template)]
#[template(path = "login.html")]
struct EntryPage {
    shell: Shell,
    heading: &'static str,
    lead: &'static str,
    form: Form,
    action: String,
    verb: &'static str,
    takes_token: bool,
}

pub(crate) async fn log_in_page(browser: Browser) -> Response {
    log_in_with(&browser, log_in_form())
}

pub(crate) async fn log_in(browser: Browser, posted: Posted) -> Shown {
    let form = log_in_form().posted(&posted);
    let document = form.document(json!({}));
    match browser.call.ask(Method::POST, "/api/v1/login", Some(&document), None).await {
        Ok(answer) => {
            answer.read::<LoggedIn>()?;
            let place = here_or_start(browser.query.text("next")).to_owned();
            Ok((handed_on(&answer.headers), Redirect::to(&place)).into_response())
        }
        Err(Trouble::Problem(problem)) => Ok(log_in_with(&browser, form.blame(&problem))),
        Err(trouble) => Err(trouble),
    }
}

pub(crate) async fn log_out(visitor: Visitor) -> Shown {
    let answer = visitor.call.ask(Method::POST, "/api/v1/logout", None::<&()>, None).await?;
    Ok((handed_on(&answer.headers), onward("/login", "out")).into_response())
}

pub(crate) async fn first_admin_page(browser: Browser) -> Response {
    first_admin_with(&browser, first_admin_form())
}

pub(crate) async fn first_admin(browser: Browser, posted: Posted) -> Shown {
    let form = first_admin_form().posted(&posted);
    let document = form.document(json!({}));
    match browser.call.ask(Method::POST, "/api/v1/first-admin", Some(&document), None).await {
        Ok(_) => Ok(onward("/login?next=/guide", "welcome")),
        Err(Trouble::Problem(problem)) => Ok(first_admin_with(&browser, form.blame(&problem))),
        Err(trouble) => Err(trouble),
    }
}

fn log_in_with(browser: &Browser, form: Form) -> Response {
    let next = here_or_start(browser.query.text("next"));
    page(&EntryPage {
        shell: Shell::of_stranger(browser, "Log in"),
        heading: "Log in",
        lead: "Network access for named people, for a time, on the record.",
        form,
        action: crate::api::with_query("/login", [("next", if next == "/" { "" } else { next })]),
        verb: "Log in",
        takes_token: false,
    })
}

fn first_admin_with(browser: &Browser, form: Form) -> Response {
    page(&EntryPage {
        shell: Shell::of_stranger(browser, "First administrator"),
        heading: "First administrator",
        lead: "This server has just been set up. Choose your name and password; whoever sets up the rest is you.",
        form,
        action: "/first-admin".to_owned(),
        verb: "Create the administrator",
        takes_token: true,
    })
}

fn log_in_form() -> Form {
    Form::of(vec![
        Field::text("/user", "Name").required().autocomplete("username"),
        Field::new("/password", "Password", Input::Secret).required().autocomplete("current-password"),
    ])
}

fn first_admin_form() -> Form {
    Form::of(vec![
        Field::text("/token", "One-time token")
            .required()
            .hint("As sluice-server init printed it. Lost: sluice-server admin-token makes another."),
        Field::text("/user", "Your name").required().autocomplete("username").hint("You log in with it."),
        Field::new("/password", "Password", Input::Secret)
            .required()
            .autocomplete("new-password")
            .hint("Long, and used nowhere else."),
    ])
}

/// A place of ours to go on to; anything else is the start.
pub(crate) fn here_or_start(next: &str) -> &str {
    let is_ours =
        next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n', '\t']);
    if is_ours { next } else { "/" }
}

/// The cookie that the API hands out or takes back.
fn handed_on(headers: &HeaderMap) -> HeaderMap {
    let mut handed = HeaderMap::new();
    for cookie in headers.get_all(SET_COOKIE) {
        handed.append(SET_COOKIE, cookie.clone());
    }
    handed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_pages_of_ours_only() {
        for (next, place) in [
            ("/targets?text=a", "/targets?text=a"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("javascript:alert(1)", "/"),
            ("/\t/evil.example", "/"),
        ] {
            assert_eq!(here_or_start(next), place, "{next}");
        }
    }
}
