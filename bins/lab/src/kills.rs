//! A server that is killed at random moments while sessions are opened and ended: whatever it has answered for is there when it
//! comes back (P24, P25).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{Host, KeyPair, Lab, Process, binaries, retry};

const URL: &str = "https://127.0.0.1:8443";
const PASSWORD: &str = "correct horse battery staple";
/// Users who open and end sessions at the same time.
const USERS: usize = 4;
/// A life of the server lasts so long at least, and less than so long.
const LIFE_MS: [u64; 2] = [30, 500];
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Events of the audit that are read at once.
const PAGE: usize = 500;

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// How often the server was killed.
    pub kills: usize,
    /// Sessions whose opening was answered for.
    pub opened: usize,
    /// Sessions whose end was answered for.
    pub ended: usize,
    /// Requests that nobody knows about, because the server was killed meanwhile.
    pub unanswered: usize,
    /// Events in the audit at the end.
    pub events: u64,
    /// The longest that it took until the server was back.
    pub longest_start: Duration,
}

/// What was answered for, by session.
#[derive(Debug, Default)]
struct Answered {
    opened: Vec<String>,
    ended: Vec<String>,
    unanswered: usize,
}

/// Kills a server so many times; `seed` says when. Fails at the first promise that is broken.
pub fn run(lab: &Lab, kills: usize, mut seed: u64) -> Result<Report> {
    let mut site = Site::make(lab)?;
    let mut report = Report { kills, ..Report::default() };
    let (mut opened, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..kills {
        seed = next(seed);
        let life = Duration::from_millis(LIFE_MS[0] + seed % (LIFE_MS[1] - LIFE_MS[0]));
        let answered = site.live(life)?;
        report.opened += answered.opened.len();
        report.ended += answered.ended.len();
        report.unanswered += answered.unanswered;
        opened.extend(answered.opened);
        ended.extend(answered.ended);
        report.longest_start = report.longest_start.max(site.start()?);
        report.events = site
            .check(&mut opened, &mut ended)
            .with_context(|| format!("after kill {number}, a life of {life:?}"))?;
    }
    ensure!(report.opened > 0 && report.ended > 0, "nothing happened between the kills: {report:?}");
    Ok(report)
}

/// A server and what there is at it.
struct Site {
    host: Host,
    directory: PathBuf,
    process: Process,
    root: String,
    users: Vec<String>,
    /// The newest event that was looked at, and what was said of each session so far.
    looked_at: u64,
    said: BTreeMap<String, BTreeSet<String>>,
}

impl Site {
    fn make(lab: &Lab) -> Result<Site> {
        let host = lab.host("server")?;
        let directory = lab.directory().join("kills");
        let program = binaries::sluice("sluice-server")?;
        let shown = (program.display(), directory.display());
        let made = host.sh(&format!("{} init {} --endpoint 127.0.0.1:51820", shown.0, shown.1))?.ok()?;
        let token = made.stdout.split("token: ").nth(1).with_context(|| made.to_string())?.trim().to_owned();
        let process = spawn(&host, &directory)?;
        let root = String::new();
        let mut site =
            Site { host, directory, process, root, users: Vec::new(), looked_at: 0, said: BTreeMap::new() };
        site.wait_ready()?;
        let first = json!({ "token": token, "user": "root", "password": PASSWORD });
        site.must("", "POST", "first-admin", &first)?;
        site.root = site.log_in("root")?;
        let root = site.root.clone();
        site.must(&root, "POST", "roles", &json!({ "name": "ops" }))?;
        for number in 0..USERS {
            let name = format!("user{number}");
            site.must(&root, "POST", "users", &json!({ "name": name, "roles": ["ops"] }))?;
            site.must(&root, "PUT", &format!("users/{name}/password"), &json!({ "new": PASSWORD }))?;
            let dst = json!([{ "selector": { "ip": format!("10.20.0.{}", number + 1) } }]);
            site.must(&root, "POST", "targets", &json!({ "name": name, "roles": ["ops"], "dst": dst }))?;
            let user = site.log_in(&name)?;
            let key = KeyPair::generate(lab)?.public;
            site.must(&user, "POST", "devices", &json!({ "name": "laptop", "public_key": key }))?;
            site.users.push(user);
        }
        Ok(site)
    }

    /// Everybody opens and ends sessions, until the server is killed.
    fn live(&self, life: Duration) -> Result<Answered> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let work = |number: usize| {
                let is_over = &is_over;
                scope.spawn(move || self.work(number, is_over))
            };
            let workers: Vec<_> = (0..self.users.len()).map(work).collect();
            thread::sleep(life);
            let killed = self.process.signal(Signal::KILL);
            is_over.store(true, Ordering::Relaxed);
            let mut all = Answered::default();
            for worker in workers {
                let Ok(answered) = worker.join() else { bail!("a worker panicked") };
                let Answered { opened, ended, unanswered } = answered?;
                all.opened.extend(opened);
                all.ended.extend(ended);
                all.unanswered += unanswered;
            }
            killed?;
            self.process.wait(Duration::from_secs(10))?;
            Ok(all)
        })
    }

    fn work(&self, number: usize, is_over: &AtomicBool) -> Result<Answered> {
        let (user, target) = (&self.users[number], format!("user{number}"));
        let mut answered = Answered::default();
        // What is open since the life before is in the way.
        let mut open = self.open_sessions(user).unwrap_or_default();
        while !is_over.load(Ordering::Relaxed) {
            let asked = match open.pop() {
                Some(id) => {
                    (Some(id.clone()), self.ask(user, "POST", &format!("sessions/{id}/end"), &json!({}))?)
                }
                None => (None, self.ask(user, "POST", "sessions", &json!({ "target": target }))?),
            };
            match asked {
                (Some(id), Some((200, _))) => answered.ended.push(id),
                (None, Some((201, session))) => {
                    let id = session["id"].as_str().context("a session without an identity")?.to_owned();
                    open.push(id.clone());
                    answered.opened.push(id);
                }
                // A session that is closing is in the way until its router has confirmed; at first no router is ready.
                (None, Some((409 | 403 | 503, _))) => thread::sleep(Duration::from_millis(5)),
                (_, Some((status, answer))) => bail!("{status} {answer}"),
                (_, None) => {
                    answered.unanswered += 1;
                    break;
                }
            }
        }
        Ok(answered)
    }

    fn open_sessions(&self, user: &str) -> Option<Vec<String>> {
        let (_, page) = self.ask(user, "GET", "sessions?ongoing=true", &Value::Null).ok()??;
        let open = page["items"].as_array()?.iter().filter(|session| session["state"] != "closing");
        Some(open.filter_map(|session| session["id"].as_str().map(str::to_owned)).collect())
    }

    /// Starts the server over what it left; says how long that took.
    fn start(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.process = spawn(&self.host, &self.directory)?;
        self.wait_ready()?;
        Ok(began.elapsed())
    }

    fn wait_ready(&self) -> Result<()> {
        retry("the server to be ready", READY_LIMIT, || {
            self.process.check_running()?;
            let asked = self.host.sh(&format!("curl -sk --max-time 2 -o /dev/null {URL}/readyz"))?;
            Ok(asked.succeeded().then_some(()))
        })
    }

    /// What was answered for is in the audit, which is whole, and no session is open without its event. Returns how many events
    /// there are. What was found is not looked for again.
    fn check(&mut self, opened: &mut BTreeSet<String>, ended: &mut BTreeSet<String>) -> Result<u64> {
        let root = self.root.clone();
        let chain = self.must(&root, "POST", "audit/verify", &json!({}))?;
        ensure!(chain["state"] == "whole", "the chain is broken: {chain}");
        self.read_audit()?;
        let has = |id: &String, action: &str| self.said.get(id).is_some_and(|said| said.contains(action));
        for id in std::mem::take(opened) {
            ensure!(has(&id, "session-opened"), "session {id} was opened, and the audit does not know");
        }
        for id in std::mem::take(ended) {
            ensure!(has(&id, "session-ending"), "session {id} was ended, and the audit does not know");
        }
        let ongoing = self.must(&root, "GET", "sessions?ongoing=true&limit=500", &Value::Null)?;
        for session in ongoing["items"].as_array().context("no list of sessions")? {
            let id = session["id"].as_str().context("a session without an identity")?.to_owned();
            ensure!(has(&id, "session-opened"), "session {id} is there without its event");
            let is_active = session["state"] == "active";
            ensure!(!is_active || has(&id, "session-activated"), "session {id} is active without its event");
        }
        chain["events"].as_u64().with_context(|| format!("no count of events: {chain}"))
    }

    /// The events since it was last looked.
    fn read_audit(&mut self) -> Result<()> {
        let (mut cursor, mut newest, root) = (String::new(), self.looked_at, self.root.clone());
        loop {
            let page = self.must(&root, "GET", &format!("audit?limit={PAGE}{cursor}"), &Value::Null)?;
            let events = page["items"].as_array().context("no list of events")?;
            for event in events {
                let seq = event["seq"].as_u64().with_context(|| format!("no number: {event}"))?;
                newest = newest.max(seq);
                if seq <= self.looked_at {
                    self.looked_at = newest;
                    return Ok(());
                }
                if let (Some(id), Some(action)) = (event["object"]["id"].as_str(), event["action"].as_str()) {
                    self.said.entry(id.to_owned()).or_default().insert(action.to_owned());
                }
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => {
                    self.looked_at = newest;
                    return Ok(());
                }
            }
        }
    }

    fn log_in(&self, user: &str) -> Result<String> {
        let login = json!({ "user": user, "password": PASSWORD, "token": "kills" });
        let answer = self.must("", "POST", "login", &login)?;
        Ok(answer["token"].as_str().context("a login without a token")?.to_owned())
    }

    /// Asks for what is done.
    fn must(&self, token: &str, method: &str, path: &str, document: &Value) -> Result<Value> {
        match self.ask(token, method, path, document)? {
            Some((..400, answer)) => Ok(answer),
            other => bail!("{method} {path}: {other:?}"),
        }
    }

    /// Status and answer; `None`: there was no answer, or not all of it.
    fn ask(&self, token: &str, method: &str, path: &str, document: &Value) -> Result<Option<(u16, Value)>> {
        let (authorization, url) = (format!("Authorization: Bearer {token}"), format!("{URL}/api/v1/{path}"));
        let mut argv = vec!["curl", "-sk", "--max-time", "10", "-X", method, "-w", "\n%{http_code}"];
        if !token.is_empty() {
            argv.extend(["-H", &authorization]);
        }
        let body = if document.is_null() { String::new() } else { document.to_string() };
        if !document.is_null() {
            argv.extend(["-H", "Content-Type: application/json", "--data-binary", "@-"]);
        }
        argv.push(&url);
        let output = self.host.exec_with_input(&argv, body.as_bytes())?;
        if !output.succeeded() {
            return Ok(None);
        }
        let (answer, status) = output.stdout.rsplit_once('\n').with_context(|| output.to_string())?;
        let answer = if answer.trim().is_empty() { Value::Null } else { serde_json::from_str(answer)? };
        Ok(Some((status.trim().parse()?, answer)))
    }
}

fn spawn(host: &Host, directory: &std::path::Path) -> Result<Process> {
    let (program, file) = (binaries::sluice("sluice-server")?, directory.join("server.toml"));
    let argv =
        [program.display().to_string(), "run".to_owned(), "--config".to_owned(), file.display().to_string()];
    host.spawn_with(&argv.each_ref().map(String::as_str), &[("RUST_LOG", "warn")])
}

/// Xorshift: the same seed gives the same lives.
fn next(seed: u64) -> u64 {
    let mut x = seed.max(1);
    x ^= x << 13;
    x ^= x >> 7;
    x ^ (x << 17)
}
