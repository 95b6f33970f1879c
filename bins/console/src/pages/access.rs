//! My access: what the visitor may open, what is open, what is in the way, what has ended.

use askama::Template;
use serde_json::{Value, json};
use sluice_api::{AccessTarget, DeviceSpec, Object, Page, SessionView};
use uuid::Uuid;

use crate::api::with_query;
use crate::components::{Badge, Moment, Tone, bytes};
use crate::form::{Field, Form, Input};
use crate::pages::devices;
use crate::posted::Posted;
use crate::shell::{Section, Shell, Shown, onward, page};
use crate::trouble::Trouble;
use crate::visitor::Visitor;

/// Cards on a page. Whoever may open more than these finds the rest by their names.
const CARDS_MAX: usize = 60;
/// Sessions that ended, on the page.
const ENDED_MAX: usize = 5;
/// How long people mostly ask for, in seconds.
const DURATIONS: [(u64, &str); 5] = [
    (900, "15 minutes"),
    (3600, "1 hour"),
    (4 * 3600, "4 hours"),
    (8 * 3600, "8 hours"),
    (24 * 3600, "1 day"),
];

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    shell: Shell,
    open: Vec<OpenCard>,
    closed: Vec<ClosedCard>,
    ended: Vec<Ended>,
    text: String,
    /// How many there are that the page does not show.
    more: usize,
    has_device: bool,
    /// What could not be done, where no card is about it.
    error: Option<String>,
}

/// A target that is open.
struct OpenCard {
    target: AccessTarget,
    session: SessionView,
    badge: Badge,
    expires: Option<Moment>,
    carried: String,
    extend: Vec<Field>,
    error: Option<String>,
}

/// A target that is not.
struct ClosedCard {
    target: AccessTarget,
    badge: Badge,
    id: String,
    form: Form,
    can_open: bool,
    asks_approval: bool,
    is_unfolded: bool,
}

struct Ended {
    session: SessionView,
    at: Option<Moment>,
}

/// What a form on this page tried, and what came of it.
struct Tried {
    target: String,
    posted: Posted,
    trouble: Box<sluice_api::Problem>,
}

pub(crate) async fn show(visitor: Visitor) -> Shown {
    shown(visitor, None).await
}

pub(crate) async fn open(visitor: Visitor, posted: Posted) -> Shown {
    let form = open_form(&[], None, false).posted(&posted);
    let document = form.document(json!({ "target": posted.text("/target") }));
    let opened = visitor.call.post::<SessionView>("/api/v1/sessions", &document).await;
    after(visitor, posted, opened.map(|_| ()), "opened").await
}

pub(crate) async fn ask(visitor: Visitor, posted: Posted) -> Shown {
    let document = json!({ "target": posted.text("/target"), "reason": posted.text("/reason") });
    let asked = visitor.call.post::<Value>("/api/v1/approvals", &document).await;
    after(visitor, posted, asked.map(|_| ()), "asked").await
}

pub(crate) async fn extend(visitor: Visitor, posted: Posted) -> Shown {
    let path = format!("/api/v1/sessions/{}/extend", identity(&posted)?);
    let seconds =
        posted.text("/duration").parse::<u64>().map_or_else(|_| json!(posted.text("/duration")), Value::from);
    let extended = visitor.call.post::<SessionView>(&path, &json!({ "duration": seconds })).await;
    after(visitor, posted, extended.map(|_| ()), "extended").await
}

pub(crate) async fn close(visitor: Visitor, posted: Posted) -> Shown {
    let path = format!("/api/v1/sessions/{}/end", identity(&posted)?);
    let closed = visitor.call.post::<SessionView>(&path, &json!({})).await;
    after(visitor, posted, closed.map(|_| ()), "closed").await
}

/// On to the page anew; or the page with what is wrong, and what was typed.
async fn after(visitor: Visitor, posted: Posted, outcome: Result<(), Trouble>, done: &str) -> Shown {
    match outcome {
        Ok(()) => Ok(onward("/access", done)),
        Err(Trouble::Problem(trouble)) => {
            let target = posted.text("/target").to_owned();
            shown(visitor, Some(Tried { target, posted, trouble })).await
        }
        Err(trouble) => Err(trouble),
    }
}

async fn shown(visitor: Visitor, tried: Option<Tried>) -> Shown {
    let call = &visitor.call;
    let all = call.get::<Page<AccessTarget>>("/api/v1/access").await?.items;
    let devices = devices::own(&visitor).await?;
    let own = [("user", visitor.who.user.as_str()), ("ongoing", "false"), ("limit", "5")];
    let ended = call.items::<SessionView>(&with_query("/api/v1/sessions", own)).await?;
    let text = visitor.query.text("text").to_lowercase();
    let found = |target: &AccessTarget| {
        text.is_empty()
            || target.name.to_lowercase().contains(&text)
            || target.tags.iter().any(|tag| tag.to_lowercase().contains(&text))
            || target.destinations.iter().any(|destination| destination.contains(&text))
    };
    let (open, closed): (Vec<_>, Vec<_>) = all.into_iter().partition(|target| target.session.is_some());
    let open: Vec<_> = open.into_iter().filter_map(|target| open_card(target, tried.as_ref())).collect();
    let closed: Vec<_> = closed.into_iter().filter(found).collect();
    let more = closed.len().saturating_sub(CARDS_MAX);
    let closed: Vec<_> = closed
        .into_iter()
        .enumerate()
        .filter(|(place, target)| {
            *place < CARDS_MAX || tried.as_ref().is_some_and(|tried| tried.target == target.name)
        })
        .map(|(place, target)| closed_card(target, place, &devices, tried.as_ref()))
        .collect();
    let has_card = tried.as_ref().is_none_or(|tried| {
        open.iter().any(|card| card.target.name == tried.target)
            || closed.iter().any(|card| card.target.name == tried.target)
    });
    let error = tried.filter(|_| !has_card).map(|tried| tried.trouble.detail);
    Ok(page(&AccessPage {
        shell: visitor.shell(Section::Access, "My access"),
        open,
        closed,
        ended: ended
            .into_iter()
            .take(ENDED_MAX)
            .map(|session| Ended { at: session.closed.map(Moment::ago), session })
            .collect(),
        text: visitor.query.text("text").to_owned(),
        more,
        has_device: !devices.is_empty(),
        error,
    }))
}

fn open_card(target: AccessTarget, tried: Option<&Tried>) -> Option<OpenCard> {
    let session = target.session.clone()?;
    let error = tried.filter(|tried| tried.target == target.name).map(|tried| tried.trouble.detail.clone());
    let longest = target.max_duration.map(|longest| longest.0);
    Some(OpenCard {
        badge: Badge::of(&session),
        expires: session.expires.map(Moment::left),
        carried: format!("{} out, {} in", bytes(session.traffic.bytes_out), bytes(session.traffic.bytes_in)),
        extend: vec![Field::new("/duration", "From now", Input::Choice(durations(longest, false)))],
        error,
        session,
        target,
    })
}

fn closed_card(
    target: AccessTarget,
    place: usize,
    devices: &[Object<DeviceSpec>],
    tried: Option<&Tried>,
) -> ClosedCard {
    let blocked = target.blocked.as_ref().map(|blocked| blocked.code.as_str());
    let asks_approval = blocked == Some("approval-needed");
    let mut form = if asks_approval {
        Form::of(vec![
            Field::text("/reason", "Why").required().hint("Whoever decides sees it, and the audit keeps it."),
        ])
    } else {
        open_form(devices, target.max_duration.map(|longest| longest.0), target.require_reason)
    };
    let tried = tried.filter(|tried| tried.target == target.name);
    if let Some(tried) = tried {
        form = form.posted(&tried.posted).blame(&tried.trouble);
    }
    let id = format!("target-{place}");
    for field in &mut form.fields {
        // Several forms of the same fields are on the page: the label must find its own.
        field.scope.clone_from(&id);
    }
    let badge = match blocked {
        None => Badge::new(Tone::Quiet, "ready"),
        Some("approval-needed") => Badge::new(Tone::Busy, "needs approval"),
        Some(_) => Badge::new(Tone::Bad, "blocked"),
    };
    ClosedCard {
        badge,
        can_open: blocked.is_none(),
        asks_approval,
        is_unfolded: tried.is_some(),
        target,
        id,
        form,
    }
}

fn open_form(devices: &[Object<DeviceSpec>], longest: Option<u64>, needs_reason: bool) -> Form {
    let reason =
        Field::text("/reason", "Reason").hint("The audit keeps it. A ticket's number is a good one.");
    let reason = if needs_reason { reason.required() } else { reason };
    let mut fields =
        vec![reason, Field::new("/duration", "For how long", Input::Choice(durations(longest, true)))];
    if devices.len() != 1 {
        let named = |device: &Object<DeviceSpec>| {
            (device.spec.name.clone(), format!("{} ({})", device.spec.name, device.spec.client_ip))
        };
        let choices = devices.iter().map(named).collect();
        let mut field = Field::new("/device", "From which device", Input::Choice(choices));
        field.required = !devices.is_empty();
        fields.push(field);
    }
    Form::of(fields)
}

fn durations(longest: Option<u64>, with_longest: bool) -> Vec<(String, String)> {
    let mut choices = Vec::new();
    if with_longest {
        let word = longest.map_or("until I close it".to_owned(), |longest| {
            format!("{}, the longest there is", sluice_api::Seconds(longest))
        });
        choices.push((String::new(), word));
    }
    let shorter = DURATIONS.iter().filter(|(seconds, _)| {
        longest.is_none_or(|longest| *seconds < longest || !with_longest && *seconds == longest)
    });
    choices.extend(shorter.map(|(seconds, word)| (seconds.to_string(), (*word).to_owned())));
    if choices.is_empty() {
        choices
            .extend(longest.map(|longest| (longest.to_string(), sluice_api::Seconds(longest).to_string())));
    }
    choices
}

/// The session that a form is about.
pub(crate) fn identity(posted: &Posted) -> Result<Uuid, Trouble> {
    posted.text("id").parse().map_err(|_| Trouble::Failed("a form without its session"))
}
