//! Explain: what somebody would get if they asked, and each check that stands in the way.

use askama::Template;
use serde_json::json;
use sluice_api::{Explanation, Object, TargetSpec};

use crate::api::with_query;
use crate::components::Moment;
use crate::form::{Field, Form};
use crate::pages::words;
use crate::shell::{Section, Shell, Shown, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

#[derive(Template)]
#[template(path = "explain.html")]
struct ExplainPage {
    shell: Shell,
    form: Form,
    outcome: Option<Outcome>,
}

struct Outcome {
    explanation: Explanation,
    expires: Option<Moment>,
    /// What the target would let through.
    sentences: Vec<String>,
    checks: Vec<Check>,
}

/// One of the eight, and what it says.
struct Check {
    number: u8,
    name: &'static str,
    failed: Vec<String>,
}

const CHECKS: [&str; 8] = [
    "The user may log in",
    "A router serves the client's address, and it is the user's",
    "The target is there, and on",
    "A role of the user's opens it",
    "Schedule, reason, approval",
    "Nothing overlaps on this client address",
    "Nothing exclusive is in the way",
    "Routers are ready, and no limit is reached",
];

pub(crate) async fn show(visitor: Visitor) -> Shown {
    let form = form(&visitor).posted(&visitor.query);
    if visitor.query.given("/request/target").is_none() {
        return Ok(shown(&visitor, form, None));
    }
    let document = form.document(json!({ "request": {} }));
    match visitor.call.post::<Explanation>("/api/v1/explain", &document).await {
        Ok(explanation) => {
            let target = target(&visitor, visitor.query.text("/request/target")).await?;
            let checks = (1..).zip(CHECKS).map(|(number, name)| Check {
                number,
                name,
                failed: explanation
                    .failed
                    .iter()
                    .filter(|failed| failed.check == number)
                    .map(|failed| failed.text.clone())
                    .collect(),
            });
            let outcome = Outcome {
                checks: checks.collect(),
                expires: explanation.expires.map(Moment::at),
                sentences: target.map(|target| words::sentences(&target)).unwrap_or_default(),
                explanation,
            };
            Ok(shown(&visitor, form, Some(outcome)))
        }
        Err(Trouble::Problem(problem)) => Ok(shown(&visitor, form.blame(&problem), None)),
        Err(trouble) => Err(trouble),
    }
}

async fn target(visitor: &Visitor, name: &str) -> Result<Option<TargetSpec>, Trouble> {
    let found = visitor
        .call
        .items::<Object<TargetSpec>>(&with_query("/api/v1/targets", [("text", name), ("limit", "100")]))
        .await?;
    Ok(found.into_iter().map(|target| target.spec).find(|target| target.name == name))
}

fn shown(visitor: &Visitor, form: Form, outcome: Option<Outcome>) -> axum::response::Response {
    page(&ExplainPage { shell: visitor.shell(Section::Explain, "Explain"), form, outcome })
}

fn form(visitor: &Visitor) -> Form {
    let mut fields = Vec::new();
    if visitor.sees_all() {
        fields.push(Field::text("/user", "User").hint("Whose access; empty: your own."));
    }
    fields.extend([
        Field::text("/request/target", "Target").required(),
        Field::text("/request/device", "From which device").hint("Of the user's; empty: their only one."),
        Field::text("/request/client_ip", "Or from which address"),
        Field::text("/request/reason", "Reason"),
        Field::text("/request/duration", "For how long").hint("1h, 30m, …"),
    ]);
    Form::of(fields)
}
