//! A browser, driven through WebDriver (W3C): chromedriver in a host of the lab, asked by curl.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_lab::{Host, Process, retry, wait_until};

/// In the host's own namespace.
const PORT: &str = "9515";
/// How long anything on a page may take to come.
const PATIENCE: Duration = Duration::from_secs(15);

/// One window. Every one has a driver of its own, with cookies of its own.
pub(crate) struct Browser {
    host: Host,
    session: String,
    origin: String,
    _driver: Process,
}

impl Browser {
    /// Starts one that shows pages of `origin`.
    pub(crate) fn start(host: &Host, origin: &str) -> Result<Browser> {
        let home = host.lab().directory().join(format!("browser-{}", host.name()));
        let home = home.display().to_string();
        let driver =
            host.spawn_with(&["chromedriver", &format!("--port={PORT}")], &[("HOME", home.as_str())])?;
        let mut browser = Browser {
            host: host.clone(),
            session: String::new(),
            origin: origin.to_owned(),
            _driver: driver,
        };
        retry("chromedriver to answer", PATIENCE, || Ok(browser.ask("GET", "/status", None).ok()))?;
        let options = json!({ "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            format!("--user-data-dir={home}"),
        ] });
        let wanted =
            json!({ "browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": options });
        let capabilities = json!({ "capabilities": { "alwaysMatch": wanted } });
        let made = browser.ask("POST", "/session", Some(&capabilities))?;
        let id = made["sessionId"].as_str().with_context(|| format!("no session: {made}"))?;
        browser.session = format!("/session/{id}");
        Ok(browser)
    }

    /// Goes to a page.
    pub(crate) fn open(&self, path: &str) -> Result<()> {
        let url = format!("{}{path}", self.origin);
        self.ask("POST", &format!("{}/url", self.session), Some(&json!({ "url": url }))).map(drop)
    }

    /// What a function body of JavaScript returns.
    pub(crate) fn run(&self, script: &str) -> Result<Value> {
        let body = json!({ "script": script, "args": [] });
        self.ask("POST", &format!("{}/execute/sync", self.session), Some(&body))
    }

    /// Types into a field, as a person does.
    pub(crate) fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.ask("POST", &format!("{element}/clear"), Some(&json!({})))?;
        self.ask("POST", &format!("{element}/value"), Some(&json!({ "text": text }))).map(drop)
    }

    /// Clicks on what is there once it is.
    pub(crate) fn click(&self, selector: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.ask("POST", &format!("{element}/click"), Some(&json!({}))).map(drop)
    }

    /// Waits until the page says this.
    pub(crate) fn wait_for(&self, text: &str) -> Result<()> {
        let script = format!("return document.body.innerText.includes({})", Value::from(text));
        let outcome =
            wait_until(&format!("the page to say {text:?}"), PATIENCE, || Ok(self.run(&script)? == true));
        outcome.with_context(|| {
            let shown = self.run("return location.href + '\\n' + document.body.innerText");
            shown
                .map_or_else(|error| error.to_string(), |shown| shown.as_str().unwrap_or_default().to_owned())
        })
    }

    /// Logs in, which leads to the page that was asked for.
    pub(crate) fn log_in(&self, user: &str, password: &str, path: &str) -> Result<()> {
        self.open(path)?;
        self.fill("input[name='/user']", user)?;
        self.fill("input[name='/password']", password)?;
        self.click("form button.primary")
    }

    fn element(&self, selector: &str) -> Result<String> {
        let body = json!({ "using": "css selector", "value": selector });
        let found = retry(&format!("{selector} to be there"), PATIENCE, || {
            Ok(self.ask("POST", &format!("{}/element", self.session), Some(&body)).ok())
        })?;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        Ok(format!("{}/element/{}", self.session, id.with_context(|| format!("no element: {found}"))?))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("http://127.0.0.1:{PORT}{path}");
        let mut argv = vec!["curl", "-sS", "--max-time", "60", "-X", method];
        if body.is_some() {
            argv.extend(["-H", "Content-Type: application/json", "--data-binary", "@-"]);
        }
        argv.push(&url);
        let body = body.map(Value::to_string).unwrap_or_default();
        let output = self.host.exec_with_input(&argv, body.as_bytes())?.ok()?;
        let answer: Value = serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
        ensure!(answer["value"]["error"].is_null(), "{method} {path}: {}", answer["value"]);
        Ok(answer["value"].clone())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session; what is left goes with the lab.
        let _ = self.ask("DELETE", &self.session, None);
    }
}
