//! What one may open, why not, and asking others to agree.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use sluice_api::{
    AccessTarget, ApprovalView, AskApproval, DecideApproval, Explain, ExplainPacket, Explanation,
    FailedCheck, Page,
};

use super::App;
use super::body::{Json, Params, answer};
use super::objects::{PAGE_MAX, Which, actor};
use super::openapi::Param;
use super::problem::{ApiError, ProblemKind};
use crate::auth::permission::Permit;
use crate::engine::{Outlook, failed_check};
use crate::store::timestamp;

pub(super) const APPROVAL_PARAMS: &[Param] =
    &[Param::query("waiting", "boolean", "Only those that nobody has decided yet")];

/// Which requests for approval to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalQuery {
    #[serde(default)]
    waiting: bool,
}

pub(super) async fn list(State(app): State<App>, permit: Permit) -> Result<Response, ApiError> {
    let items = app.engine().access(app.now(), &actor(&permit)).await?;
    answer(StatusCode::OK, &Page::<AccessTarget> { items, next: None })
}

pub(super) async fn explain(
    State(app): State<App>,
    permit: Permit,
    Json(asked): Json<Explain>,
) -> Result<Response, ApiError> {
    // About oneself one learns no more than by asking, also if one says one's own name.
    let user = asked.user.as_deref().filter(|user| *user != permit.name);
    if user.is_some_and(|user| !permit.reaches(user)) {
        return Err(ApiError::new(ProblemKind::Denied, "you ask about your own access only"));
    }
    let outlook = app.engine().outlook(app.now(), &actor(&permit), user, &asked.request).await?;
    let explanation = match outlook {
        Outlook::Granted(expiry) => Explanation {
            granted: true,
            expires: expiry.map(|expiry| timestamp(expiry.at)),
            limit: expiry.map(|expiry| expiry.limit.code().to_owned()),
            failed: Vec::new(),
        },
        Outlook::Refused(all) => {
            let failed: Vec<FailedCheck> = all.iter().map(failed_check).collect();
            Explanation { granted: false, expires: None, limit: None, failed }
        }
    };
    answer(StatusCode::OK, &explanation)
}

pub(super) async fn explain_packet(
    State(app): State<App>,
    permit: Permit,
    Json(asked): Json<ExplainPacket>,
) -> Result<Response, ApiError> {
    let user = asked.user.as_deref().filter(|user| *user != permit.name);
    if user.is_some_and(|user| !permit.reaches(user)) {
        return Err(ApiError::new(ProblemKind::Denied, "you ask about your own access only"));
    }
    answer(StatusCode::OK, &app.engine().explain_packet(app.now(), &actor(&permit), user, &asked).await?)
}

pub(super) async fn approvals(
    State(app): State<App>,
    permit: Permit,
    Params(query): Params<ApprovalQuery>,
) -> Result<Response, ApiError> {
    let all = app.engine().approvals(&actor(&permit), query.waiting, PAGE_MAX).await?;
    let items = all.into_iter().filter(|approval| permit.reaches(&approval.user)).collect();
    answer(StatusCode::OK, &Page::<ApprovalView> { items, next: None })
}

pub(super) async fn ask(
    State(app): State<App>,
    permit: Permit,
    Json(asked): Json<AskApproval>,
) -> Result<Response, ApiError> {
    let view = app.engine().ask_approval(app.now(), &actor(&permit), &asked.target, &asked.reason).await?;
    answer(StatusCode::CREATED, &view)
}

pub(super) async fn decide(
    State(app): State<App>,
    permit: Permit,
    Which(which): Which,
    Json(decision): Json<DecideApproval>,
) -> Result<Response, ApiError> {
    let unknown = |_| ApiError::new(ProblemKind::Unknown, format!("there is no approval {which:?}"));
    let id = which.parse().map_err(unknown)?;
    let DecideApproval { granted, duration } = decision;
    let view = app.engine().decide_approval(app.now(), &actor(&permit), id, granted, duration).await?;
    answer(StatusCode::OK, &view)
}
