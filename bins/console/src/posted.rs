//! A form as a browser sent it: names and values in their order. A field's name is the JSON pointer of what it stands for
//! in the document that is made of the form.

use axum::body::{Body, to_bytes};
use axum::extract::FromRequest;
use http::Request;
use http::header::CONTENT_TYPE;
use sluice_api::Problem;

use crate::trouble::Trouble;

/// As large as the API's documents may be, percent-encoded.
const FORM_MAX: usize = 512 * 1024;

/// Names and values.
#[derive(Debug, Default, Clone)]
pub(crate) struct Posted(pub(crate) Vec<(String, String)>);

impl Posted {
    /// The first value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The same; what is not there is empty. Without what people put around words by mistake.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default().trim()
    }

    /// The same, if there is something in it.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// As it stands in a query or a body.
    pub(crate) fn parse(text: &[u8]) -> Posted {
        // Browsers end lines with CR LF, whatever was there before.
        let pairs = form_urlencoded::parse(text);
        Posted(pairs.map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n"))).collect())
    }
}

impl<S: Sync> FromRequest<S> for Posted {
    type Rejection = Trouble;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, Trouble> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            return Err(no_form(415, "The console takes forms as browsers send them."));
        }
        let read = to_bytes(request.into_body(), FORM_MAX).await;
        Ok(Posted::parse(&read.map_err(|_| no_form(413, "The form is too large, or did not arrive."))?))
    }
}

fn no_form(status: u16, detail: &str) -> Trouble {
    Trouble::Problem(Box::new(Problem {
        kind: "about:blank".to_owned(),
        status,
        code: "malformed-request".to_owned(),
        title: "That is no form".to_owned(),
        detail: detail.to_owned(),
        remedy: None,
        check: None,
        errors: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were_typed() {
        let posted = Posted::parse(b"%2Fname=a%26b&%2Ftext=one%0D%0Atwo&id=1&id=2");
        assert_eq!(posted.get("/name"), Some("a&b"));
        assert_eq!(posted.text("/text"), "one\ntwo");
        assert_eq!(posted.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(posted.given("nothing"), None);
    }
}
