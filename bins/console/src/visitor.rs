//! Whoever looks at a page: who they are, and the API as they may ask it.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use http::Extensions;
use http::header::COOKIE;
use http::request::Parts;
use sluice_api::{Right, WhoAmI};

use crate::Console;
use crate::api::Caller;
use crate::posted::Posted;
use crate::shell::{Section, Shell, Theme};
use crate::trouble::Trouble;

/// A browser, whoever sits there.
pub(crate) struct Browser {
    pub(crate) call: Caller,
    pub(crate) theme: Theme,
    pub(crate) query: Posted,
}

/// A browser that somebody is logged in with.
pub(crate) struct Visitor {
    browser: Browser,
    pub(crate) who: WhoAmI,
}

impl Deref for Visitor {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Visitor {
    /// The frame of a page.
    pub(crate) fn shell(&self, section: Section, title: &str) -> Shell {
        Shell::of(self, section, title)
    }

    /// Whether they look after more than themselves.
    pub(crate) fn sees_all(&self) -> bool {
        self.who.right != Right::User
    }

    /// Whether they change what others use.
    pub(crate) fn administers(&self) -> bool {
        matches!(self.who.right, Right::TenantAdmin | Right::Admin)
    }

    /// Whether tenants and routers are theirs to change.
    pub(crate) fn administers_installation(&self) -> bool {
        self.who.right == Right::Admin && self.who.tenant.is_none()
    }
}

impl FromRequestParts<Console> for Browser {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Trouble> {
        let mut extensions = Extensions::new();
        (console.0.carry)(&parts.extensions, &mut extensions);
        let call = Caller::new(console.0.api.clone(), parts, extensions);
        let cookies = parts.headers.get_all(COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
        let theme = cookies.flat_map(|cookies| cookies.split(';')).find_map(Theme::of_cookie);
        let query = Posted::parse(parts.uri.query().unwrap_or_default().as_bytes());
        Ok(Browser { call, theme: theme.unwrap_or_default(), query })
    }
}

impl FromRequestParts<Console> for Visitor {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Trouble> {
        let browser = Browser::from_request_parts(parts, console).await?;
        let who = browser.call.get::<WhoAmI>("/api/v1/whoami").await?;
        Ok(Visitor { browser, who })
    }
}
