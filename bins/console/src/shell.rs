//! The frame around every page: navigation by right, who is logged in, what was just done.

use askama::Template;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::HeaderValue;
use http::header::SET_COOKIE;
use sluice_api::{Right, WhoAmI};

use crate::assets::{ASSETS, Assets};
use crate::components::Icon;
use crate::trouble::Trouble;
use crate::visitor::{Browser, Visitor};

/// Light, dark, or as the system is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Theme {
    #[default]
    System,
    Light,
    Dark,
}

const THEME_COOKIE: &str = "__Host-sluice-theme";

impl Theme {
    /// Its name, in the cookie and in pages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// Of that name.
    pub(crate) fn named(name: &str) -> Option<Theme> {
        [Theme::System, Theme::Light, Theme::Dark].into_iter().find(|theme| theme.name() == name)
    }

    /// What one cookie says.
    pub(crate) fn of_cookie(pair: &str) -> Option<Theme> {
        let (name, value) = pair.trim().split_once('=')?;
        if name == THEME_COOKIE { Theme::named(value) } else { None }
    }

    /// The header by which a browser remembers it.
    pub(crate) fn header(self) -> (http::HeaderName, HeaderValue) {
        let text = format!(
            "{THEME_COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=31536000",
            self.name()
        );
        (SET_COOKIE, HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("")))
    }

    /// The three of them, for the switch.
    fn all() -> [(Theme, &'static str); 3] {
        [(Theme::System, "Auto"), (Theme::Light, "Light"), (Theme::Dark, "Dark")]
    }
}

/// Where a page belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Access,
    Devices,
    Approvals,
    Sessions,
    Map,
    Audit,
    Targets,
    Connectors,
    Mappings,
    Routers,
    Users,
    Roles,
    Tenants,
    Explain,
    Health,
    Guide,
    Account,
}

/// A way to a section.
pub(crate) struct Way {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    pub(crate) icon: Icon,
    pub(crate) is_here: bool,
}

/// Ways that belong together.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) ways: Vec<Way>,
}

/// The frame of a page.
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) who: Option<WhoAmI>,
    pub(crate) theme: Theme,
    pub(crate) groups: Vec<Group>,
    /// What was just done.
    pub(crate) notice: Option<&'static str>,
    /// The page's own path and query.
    pub(crate) here: String,
}

/// What the page before did, as its address says: words of ours, never of the address.
const DONE: &[(&str, &str)] = &[
    ("opened", "Access is open."),
    ("extended", "The session has more time."),
    ("closed", "The session has ended."),
    ("ended", "The sessions have ended."),
    ("asked", "Your request waits for somebody to agree."),
    ("decided", "The decision is made."),
    ("removed", "It is removed."),
    ("made", "It is made."),
    ("saved", "The change is saved."),
    ("revoked", "The token is good no longer."),
    ("password", "The password is changed. Other sessions of yours are logged out."),
    ("welcome", "You are the first administrator. Log in to go on."),
    ("out", "You are logged out."),
];

impl Shell {
    /// For a visitor.
    pub(crate) fn of(visitor: &Visitor, section: Section, title: &str) -> Shell {
        Shell {
            title: title.to_owned(),
            who: Some(visitor.who.clone()),
            theme: visitor.theme,
            groups: groups(&visitor.who, section),
            notice: done(visitor),
            here: visitor.call.here().to_owned(),
        }
    }

    /// For somebody who is not logged in.
    pub(crate) fn of_stranger(browser: &Browser, title: &str) -> Shell {
        Shell {
            title: title.to_owned(),
            who: None,
            theme: browser.theme,
            groups: Vec::new(),
            notice: done(browser),
            here: browser.call.here().to_owned(),
        }
    }

    /// For nobody in particular.
    pub(crate) fn bare(title: &str) -> Shell {
        let (title, here) = (title.to_owned(), "/".to_owned());
        Shell { title, who: None, theme: Theme::System, groups: Vec::new(), notice: None, here }
    }

    /// What pages refer to.
    pub(crate) fn assets(&self) -> &'static Assets {
        &ASSETS
    }

    /// The switch between themes: each with whether it is on.
    pub(crate) fn themes(&self) -> impl Iterator<Item = (Theme, &'static str, bool)> {
        Theme::all().into_iter().map(|(theme, word)| (theme, word, theme == self.theme))
    }

    /// The right of whoever is logged in, in words.
    pub(crate) fn right(&self) -> &'static str {
        self.who.as_ref().map_or("", |who| right_word(who.right))
    }
}

/// A right in words.
pub(crate) fn right_word(right: Right) -> &'static str {
    match right {
        Right::User => "user",
        Right::Auditor => "auditor",
        Right::TenantAdmin => "tenant administrator",
        Right::Admin => "administrator",
    }
}

/// A page as an answer.
pub(crate) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// On to another page, which says what was done.
pub(crate) fn onward(path: &str, done: &str) -> Response {
    let joint = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{path}{joint}done={done}")).into_response()
}

/// A page for whoever the frame is for, or what is in the way.
pub(crate) type Shown = Result<Response, Trouble>;

fn done(browser: &Browser) -> Option<&'static str> {
    let word = browser.query.get("done")?;
    DONE.iter().find(|(known, _)| *known == word).map(|(_, said)| *said)
}

fn groups(who: &WhoAmI, here: Section) -> Vec<Group> {
    let way = |section, path, name, icon| Way { path, name, icon, is_here: section == here };
    let mut groups = vec![Group {
        name: "Mine",
        ways: vec![
            way(Section::Access, "/access", "My access", Icon::Door),
            way(Section::Devices, "/devices", "My devices", Icon::Laptop),
        ],
    }];
    if who.right == Right::User {
        let mine = vec![
            way(Section::Sessions, "/sessions", "My sessions", Icon::Pulse),
            way(Section::Approvals, "/approvals", "My requests", Icon::Hand),
        ];
        groups.push(Group { name: "History", ways: mine });
        return groups;
    }
    groups.push(Group {
        name: "Watch",
        ways: vec![
            way(Section::Sessions, "/sessions", "Sessions", Icon::Pulse),
            way(Section::Map, "/map", "Map", Icon::Map),
            way(Section::Approvals, "/approvals", "Approvals", Icon::Hand),
            way(Section::Audit, "/audit", "Audit", Icon::Scroll),
        ],
    });
    let mut network = vec![
        way(Section::Targets, "/targets", "Targets", Icon::Target),
        way(Section::Connectors, "/connectors", "Connectors", Icon::Plug),
        way(Section::Mappings, "/mappings", "Mappings", Icon::Swap),
    ];
    network.push(way(Section::Routers, "/routers", "Routers", Icon::Router));
    groups.push(Group { name: "Network", ways: network });
    let mut people = vec![
        way(Section::Users, "/users", "Users", Icon::People),
        way(Section::Roles, "/roles", "Roles", Icon::Key),
    ];
    if who.tenant.is_none() {
        people.push(way(Section::Tenants, "/tenants", "Tenants", Icon::Building));
    }
    groups.push(Group { name: "People", ways: people });
    groups.push(Group {
        name: "Check",
        ways: vec![
            way(Section::Explain, "/explain", "Explain", Icon::Question),
            way(Section::Health, "/health", "Health", Icon::Heart),
        ],
    });
    groups
}
