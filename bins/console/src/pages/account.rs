//! The visitor's own account: password, tokens for programs, colours.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::Method;
use serde_json::json;
use sluice_api::{NewToken, Page, TokenView};
use uuid::Uuid;

use crate::components::Moment;
use crate::form::{Field, Form, Input};
use crate::pages::entry::here_or_start;
use crate::posted::Posted;
use crate::shell::{Section, Shell, Shown, Theme, onward, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    password: Form,
    token: Form,
    tokens: Vec<Row>,
    made: Option<NewToken>,
    until: Moment,
}

struct Row {
    token: TokenView,
    expires: Moment,
    seen: Option<Moment>,
}

/// What stands in the page's forms.
#[derive(Default)]
struct State {
    password: Option<Form>,
    token: Option<Form>,
    made: Option<NewToken>,
}

pub(crate) async fn show(visitor: Visitor) -> Shown {
    shown(visitor, State::default()).await
}

pub(crate) async fn change_password(visitor: Visitor, posted: Posted) -> Shown {
    let form = password_form().posted(&posted);
    match visitor.call.ask(Method::PUT, "/api/v1/password", Some(&form.document(json!({}))), None).await {
        Ok(_) => Ok(onward("/account", "password")),
        Err(Trouble::Problem(problem)) => {
            shown(visitor, State { password: Some(form.blame(&problem)), ..State::default() }).await
        }
        Err(trouble) => Err(trouble),
    }
}

pub(crate) async fn make_token(visitor: Visitor, posted: Posted) -> Shown {
    let form = token_form().posted(&posted);
    match visitor.call.post::<NewToken>("/api/v1/tokens", &form.document(json!({}))).await {
        Ok(made) => shown(visitor, State { made: Some(made), ..State::default() }).await,
        Err(Trouble::Problem(problem)) => {
            shown(visitor, State { token: Some(form.blame(&problem)), ..State::default() }).await
        }
        Err(trouble) => Err(trouble),
    }
}

pub(crate) async fn revoke_token(visitor: Visitor, posted: Posted) -> Shown {
    let id: Uuid = posted.text("id").parse().map_err(|_| Trouble::Failed("a form without its token"))?;
    visitor.call.ask(Method::DELETE, &format!("/api/v1/tokens/{id}"), None::<&()>, None).await?;
    Ok(onward("/account", "revoked"))
}

pub(crate) async fn set_theme(posted: Posted) -> Response {
    let theme = Theme::named(posted.text("theme")).unwrap_or_default();
    ([theme.header()], Redirect::to(here_or_start(posted.text("back")))).into_response()
}

async fn shown(visitor: Visitor, state: State) -> Shown {
    let tokens = visitor.call.get::<Page<TokenView>>("/api/v1/tokens").await?.items;
    let row = |token: TokenView| Row {
        expires: Moment::at(token.expires),
        seen: token.seen.map(Moment::ago),
        token,
    };
    Ok(page(&AccountPage {
        shell: visitor.shell(Section::Account, "Account"),
        password: state.password.unwrap_or_else(password_form),
        token: state.token.unwrap_or_else(token_form),
        tokens: tokens.into_iter().map(row).collect(),
        made: state.made,
        until: Moment::at(visitor.who.expires),
    }))
}

fn password_form() -> Form {
    Form::of(vec![
        Field::new("/old", "Password so far", Input::Secret).required().autocomplete("current-password"),
        Field::new("/new", "New password", Input::Secret).required().autocomplete("new-password"),
    ])
}

fn token_form() -> Form {
    let scopes = ["read", "sessions", "objects", "audit"].map(str::to_owned).to_vec();
    Form::of(vec![
        Field::text("/name", "What it is for").required().hint("backup script, monitoring, …"),
        Field::text("/duration", "Good for").hint("90 days if left empty; 12h, 30d, …"),
        Field::new("/scopes", "Good for what", Input::Names(scopes)).hint("None: for all that you may."),
    ])
}
