//! Approvals: who waits for somebody to agree, and what was decided.

use askama::Template;
use serde_json::{Value, json};
use sluice_api::{ApprovalView, Page};
use uuid::Uuid;

use crate::components::{Badge, Moment, Tone};
use crate::posted::Posted;
use crate::shell::{Section, Shell, Shown, onward, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

#[derive(Template)]
#[template(path = "approvals.html")]
struct ApprovalsPage {
    shell: Shell,
    rows: Vec<Row>,
    may_decide: bool,
    error: Option<String>,
}

struct Row {
    approval: ApprovalView,
    asked: Moment,
    badge: Badge,
    until: Option<Moment>,
}

pub(crate) async fn show(visitor: Visitor) -> Shown {
    shown(visitor, None).await
}

pub(crate) async fn decide(visitor: Visitor, posted: Posted) -> Shown {
    let id: Uuid = posted.text("id").parse().map_err(|_| Trouble::Failed("a form without its request"))?;
    let document = json!({ "granted": posted.text("granted") == "true" });
    match visitor.call.post::<Value>(&format!("/api/v1/approvals/{id}"), &document).await {
        Ok(_) => Ok(onward("/approvals", "decided")),
        Err(Trouble::Problem(problem)) => shown(visitor, Some(problem.detail)).await,
        Err(trouble) => Err(trouble),
    }
}

async fn shown(visitor: Visitor, error: Option<String>) -> Shown {
    let all = visitor.call.get::<Page<ApprovalView>>("/api/v1/approvals").await?.items;
    let row = |approval: ApprovalView| Row {
        asked: Moment::ago(approval.asked),
        badge: match approval.granted {
            None => Badge::new(Tone::Busy, "waits"),
            Some(true) => Badge::new(Tone::Good, "granted"),
            Some(false) => Badge::new(Tone::Bad, "refused"),
        },
        until: approval.valid_until.map(Moment::at),
        approval,
    };
    Ok(page(&ApprovalsPage {
        shell: visitor.shell(Section::Approvals, "Approvals"),
        rows: all.into_iter().take(100).map(row).collect(),
        may_decide: visitor.administers(),
        error,
    }))
}
