//! What pages are made with: style, scripts, icon. Each has its content's hash in its name, so browsers keep it for good.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};

/// For good: another content has another name.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// A file that pages refer to.
pub(crate) struct Asset {
    /// `console-0123456789abcdef.css`.
    name: String,
    /// Where pages find it.
    pub(crate) path: String,
    kind: &'static str,
    content: &'static [u8],
    etag: String,
}

/// All of them.
pub(crate) struct Assets {
    pub(crate) style: Asset,
    pub(crate) script: Asset,
    pub(crate) htmx: Asset,
    pub(crate) icon: Asset,
}

/// As they are in this program.
pub(crate) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: Asset::new("console", "css", "text/css; charset=utf-8", include_bytes!("../assets/console.css")),
    script: Asset::new("console", "js", JAVASCRIPT, include_bytes!("../assets/console.js")),
    htmx: Asset::new("htmx", "js", JAVASCRIPT, include_bytes!("../assets/htmx-4.0.1.min.js")),
    icon: Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
});

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, content: &'static [u8]) -> Asset {
        // It tells versions apart; nobody gains by making two alike.
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let hash = hasher.finish();
        let name = format!("{stem}-{hash:016x}.{extension}");
        Asset { path: format!("/assets/{name}"), name, kind, content, etag: format!("\"{hash:016x}\"") }
    }
}

impl Assets {
    fn named(&self, name: &str) -> Option<&Asset> {
        [&self.style, &self.script, &self.htmx, &self.icon].into_iter().find(|asset| asset.name == name)
    }
}

/// `GET /assets/{name}`.
pub(crate) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.named(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let known = headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let tagged = [(ETAG, asset.etag.clone())];
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == asset.etag)) {
        return (StatusCode::NOT_MODIFIED, tagged, [(CACHE_CONTROL, KEEP)]).into_response();
    }
    let kind = HeaderValue::from_static(asset.kind);
    (tagged, [(CACHE_CONTROL, KEEP), (CONTENT_TYPE, kind)], asset.content).into_response()
}

/// `GET /favicon.ico`: browsers ask for it, whatever pages say.
pub(crate) async fn favicon() -> Response {
    let asset = &ASSETS.icon;
    ([(CONTENT_TYPE, HeaderValue::from_static(asset.kind))], asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_style_stay_small() {
        let all = [&ASSETS.style, &ASSETS.script, &ASSETS.htmx, &ASSETS.icon];
        let bytes: usize = all.iter().map(|asset| asset.content.len()).sum();
        assert!(bytes < 100 * 1024, "{bytes} bytes leave too little for the page itself");
    }

    #[test]
    fn nothing_is_asked_of_another_host_and_nothing_is_evaluated() {
        for (name, text) in [
            ("console.css", include_str!("../assets/console.css")),
            ("console.js", include_str!("../assets/console.js")),
        ] {
            for word in
                ["http://", "https://", "eval(", "Function(", "innerHTML", "document.write", "@import"]
            {
                let harmless = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!harmless.contains(word), "{name} has {word}");
            }
        }
    }
}
