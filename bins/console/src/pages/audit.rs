//! The audit: events with filters, one of them whole beside the list, the chain verified.

use askama::Template;
use sluice_api::{AuditEvent, ChainState, Page, Right};

use crate::api::with_query;
use crate::components::{Badge, Moment, Tone};
use crate::shell::{Section, Shell, Shown, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

const ROWS: &str = "50";
/// The fields of the filter, as the API names them.
const FILTERS: [&str; 6] = ["actor", "action", "object", "outcome", "since", "until"];

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    filters: Vec<(&'static str, String)>,
    rows: Vec<Row>,
    chosen: Option<Chosen>,
    next: Option<String>,
    may_verify: bool,
    chain: Option<ChainState>,
    error: Option<String>,
}

struct Row {
    event: AuditEvent,
    at: Moment,
    badge: Badge,
    path: String,
    is_chosen: bool,
}

struct Chosen {
    title: String,
    json: String,
}

pub(crate) async fn show(visitor: Visitor) -> Shown {
    shown(visitor, None).await
}

pub(crate) async fn verify(visitor: Visitor) -> Shown {
    let chain = visitor.call.post::<ChainState>("/api/v1/audit/verify", &serde_json::json!({})).await?;
    shown(visitor, Some(chain)).await
}

async fn shown(visitor: Visitor, chain: Option<ChainState>) -> Shown {
    let filters: Vec<(&'static str, String)> =
        FILTERS.iter().map(|name| (*name, visitor.query.text(name).to_owned())).collect();
    let mut query: Vec<(&str, &str)> = filters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let cursor = visitor.query.text("cursor");
    query.extend([("cursor", cursor), ("limit", ROWS)]);
    let (found, error) =
        match visitor.call.get::<Page<AuditEvent>>(&with_query("/api/v1/audit", query.clone())).await {
            Ok(found) => (found, None),
            Err(Trouble::Problem(problem)) if problem.status == 400 => {
                (Page { items: Vec::new(), next: None }, Some(problem.detail))
            }
            Err(trouble) => return Err(trouble),
        };
    query.retain(|(name, _)| *name != "limit" && *name != "cursor");
    let chosen = visitor.query.text("seq").parse::<u64>().ok();
    let row = |event: AuditEvent| {
        let seq = event.seq.to_string();
        let mut query = query.clone();
        query.extend([("cursor", cursor), ("seq", seq.as_str())]);
        let tone = match event.outcome.as_str() {
            "success" => Tone::Good,
            "refused" => Tone::Busy,
            _ => Tone::Bad,
        };
        Row {
            at: Moment::at(event.time),
            badge: Badge::new(tone, event.outcome.clone()),
            path: with_query("/audit", query),
            is_chosen: chosen == Some(event.seq),
            event,
        }
    };
    let rows: Vec<_> = found.items.into_iter().map(row).collect();
    let chosen = rows.iter().find(|row| row.is_chosen).map(|row| Chosen {
        title: format!("{} · {}", row.event.seq, row.event.action),
        json: serde_json::to_string_pretty(&row.event).unwrap_or_default(),
    });
    let next = found.next.map(|next| {
        let mut query = query.clone();
        query.push(("cursor", next.as_str()));
        with_query("/audit", query)
    });
    Ok(page(&AuditPage {
        shell: visitor.shell(Section::Audit, "Audit"),
        rows,
        chosen,
        next,
        may_verify: matches!(visitor.who.right, Right::Auditor | Right::Admin)
            && visitor.who.tenant.is_none(),
        chain,
        error,
        filters,
    }))
}

impl AuditPage {
    /// Those that can be chosen, each with whether it is.
    fn outcomes(&self) -> [(&'static str, bool); 3] {
        ["success", "refused", "failure"].map(|outcome| (outcome, self.filter("outcome") == outcome))
    }

    fn filter(&self, name: &str) -> &str {
        self.filters.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value.as_str())
    }
}
