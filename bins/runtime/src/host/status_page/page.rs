//! What the page says. Called by the parent; made by [`collect::page`](crate::host::admin::collect::page).

use askama::Template;
use serde::Serialize;

use crate::host::admin::report::RuleReport;

/// A node as one of its peers may see it.
#[derive(Clone, Debug, PartialEq, Serialize, Template)]
#[template(path = "status.html")]
pub struct Page {
    /// The node's name.
    pub name: String,
    /// `router` or `connector`.
    pub kind: String,
    /// Of this program.
    pub version: String,
    /// Since it started.
    pub uptime_secs: u64,
    /// Whom the page is for: the address it was asked from.
    pub you: String,
    /// What may pass from there.
    pub open: Vec<RuleReport>,
}

impl Page {
    /// For people.
    ///
    /// # Errors
    /// Never, for what a page holds.
    pub fn html(&self) -> Result<String, askama::Error> {
        self.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(target: &str) -> Page {
        let rule = RuleReport {
            id: "0".repeat(32),
            target: target.to_owned(),
            source: "10.77.0.2 (alice)".to_owned(),
            destinations: vec!["10.20.0.5 tcp 22 -> 10.99.0.2:40000".to_owned()],
            src_nat: true,
            expires_in_secs: Some(90),
            flows: 2,
            packets: 10,
            bytes: 1234,
        };
        Page {
            name: "router-1".to_owned(),
            kind: "router".to_owned(),
            version: "0.1.0".to_owned(),
            uptime_secs: 7,
            you: "10.77.0.2".to_owned(),
            open: vec![rule],
        }
    }

    #[test]
    fn it_names_what_is_open_and_when_it_ends() {
        let html = page("db").html().unwrap();
        for part in
            ["router-1", "10.77.0.2", "<td>db</td>", "10.20.0.5 tcp 22 -&#62; 10.99.0.2:40000", "in 90 s"]
        {
            assert!(html.contains(part), "{part} is not in {html}");
        }
    }

    #[test]
    fn nothing_open_is_said_in_words() {
        let html = Page { open: Vec::new(), ..page("db") }.html().unwrap();
        assert!(html.contains("Nothing but this page.") && !html.contains("<table>"));
    }

    #[test]
    fn names_are_text_and_never_markup() {
        let html = page("<script>alert(1)</script>").html().unwrap();
        assert!(!html.contains("<script>"), "{html}");
    }
}
