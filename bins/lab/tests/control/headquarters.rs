//! A server, an administrator, a user with a laptop, a device in the server's own network.
//!
//! ```text
//! client ══ WireGuard ══ server ── LAN 192.168.7.0/24 ── device .10
//! 203.0.113.2            203.0.113.1 (UDP 51820, HTTPS 8443)
//! ```

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_lab::services::Nginx;
use sluice_lab::{Host, KeyPair, Lab, Mtu, Output, Port, Process, binaries, retry};

/// The device as users address it.
pub(crate) const DEVICE: &str = "10.20.0.5";
/// The laptop's address inside the tunnel: the first that is free.
pub(crate) const LAPTOP: &str = "10.77.0.1";
/// Where the server tells metrics.
pub(crate) const METRICS: &str = "127.0.0.1:9586";
const SERVER: &str = "203.0.113.1";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct Headquarters {
    pub(crate) client: Host,
    pub(crate) nginx: Nginx,
    pub(crate) root: Account,
    pub(crate) alice: Account,
    pub(crate) server: Host,
    pub(crate) directory: String,
    process: Process,
}

/// Somebody who asks the server by curl.
pub(crate) struct Account {
    host: Host,
    token: String,
}

impl Account {
    /// Logs in.
    fn log_in(host: &Host, user: &str) -> Result<Account> {
        let nobody = Account { host: host.clone(), token: "slu_none".to_owned() };
        let answer =
            nobody.call("POST", "login", &json!({ "user": user, "password": PASSWORD, "token": "lab" }))?;
        let token = answer["token"].as_str().context("a login without a token")?.to_owned();
        Ok(Account { host: host.clone(), token })
    }

    /// What the server has there.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.expect(true, &["GET", path], &[], None)
    }

    /// How one who stays connected asks.
    pub(crate) fn command_line(&self, path: &str) -> String {
        format!(
            "curl -sSkN --max-time 60 -H 'Authorization: Bearer {}' https://{SERVER}:8443/api/v1/{path}",
            self.token
        )
    }

    /// Asks for a change, which is made.
    pub(crate) fn call(&self, method: &str, path: &str, document: &Value) -> Result<Value> {
        self.expect(true, &[method, path], &[], Some(document))
    }

    /// Asks for a change, which is refused: the problem document.
    pub(crate) fn refused(&self, method: &str, path: &str, document: &Value) -> Result<Value> {
        self.expect(false, &[method, path], &[], Some(document))
    }

    /// Replaces an object that is still at `version`.
    pub(crate) fn replace(&self, path: &str, version: u64, document: &Value) -> Result<Value> {
        self.expect(true, &["PUT", path], &[&format!("If-Match: \"{version}\"")], Some(document))
    }

    fn expect(
        &self,
        done: bool,
        what: &[&str; 2],
        headers: &[&str],
        document: Option<&Value>,
    ) -> Result<Value> {
        let (status, answer) = self.ask(what, headers, document)?;
        ensure!((status < 400) == done, "{what:?}: {status} {answer}");
        Ok(answer)
    }

    fn ask(
        &self,
        [method, path]: &[&str; 2],
        headers: &[&str],
        document: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let (authorization, url) =
            (format!("Authorization: Bearer {}", self.token), format!("https://{SERVER}:8443/api/v1/{path}"));
        let mut argv = vec!["curl", "-sSk", "--max-time", "30", "-X", method, "-H", &authorization];
        headers.iter().for_each(|header| argv.extend(["-H", header]));
        let body = document.map(Value::to_string).unwrap_or_default();
        if document.is_some() {
            argv.extend(["-H", "Content-Type: application/json", "--data-binary", "@-"]);
        }
        argv.extend(["-w", "\n%{http_code}", &url]);
        let output = self.host.exec_with_input(&argv, body.as_bytes())?.ok()?;
        let (answer, status) = output.stdout.rsplit_once('\n').with_context(|| output.to_string())?;
        let answer = if answer.trim().is_empty() { Value::Null } else { serde_json::from_str(answer)? };
        Ok((status.trim().parse()?, answer))
    }
}

impl Account {
    /// Asks with the `sluice` program, on the account's machine.
    pub(crate) fn sluice(&self, arguments: &str) -> Result<Output> {
        let shown = format!("openssl s_client -connect {SERVER}:8443 < /dev/null 2> /dev/null");
        let shown = self.host.sh(&format!("{shown} | openssl x509 -noout -fingerprint -sha256"))?.ok()?;
        let fingerprint = shown.stdout.trim().split('=').nth(1).context("a certificate")?.to_owned();
        let program = binaries::sluice("sluice")?;
        let environment = format!(
            "SLUICE_SERVER=https://{SERVER}:8443 SLUICE_FINGERPRINT={fingerprint} SLUICE_TOKEN={}",
            self.token
        );
        self.host.sh(&format!("{environment} {} {arguments}", program.display()))
    }
}

impl Headquarters {
    pub(crate) fn open(lab: &Lab) -> Result<Headquarters> {
        let (client, server, device) = (lab.host("client")?, lab.host("server")?, lab.host("device")?);
        lab.cable(
            Port::new(&client, "wan0", &["203.0.113.2/24"]),
            Port::new(&server, "wan0", &["203.0.113.1/24"]),
            Mtu::ETHERNET,
        )?;
        lab.cable(
            Port::new(&server, "lan0", &["192.168.7.1/24"]),
            Port::new(&device, "lan0", &["192.168.7.10/24"]),
            Mtu::ETHERNET,
        )?;
        let nginx = Nginx::start(&device)?;
        let directory = lab.directory().join("sluice").display().to_string();
        let options = format!("--endpoint {SERVER}:51820 --https {SERVER}:8443");
        let made = server.sh(&format!("{} init {directory} {options}", program()?))?.ok()?;
        let token = made.stdout.split("token: ").nth(1).with_context(|| made.to_string())?.trim().to_owned();
        offer(&directory)?;
        let process = start(&server, &directory)?;
        let nobody = Account { host: server.clone(), token: "slu_none".to_owned() };
        nobody.call(
            "POST",
            "first-admin",
            &json!({ "token": token, "user": "root", "password": PASSWORD }),
        )?;
        let root = Account::log_in(&server, "root")?;
        root.call("POST", "roles", &json!({ "name": "ops" }))?;
        root.call("POST", "users", &json!({ "name": "alice", "roles": ["ops"] }))?;
        root.call("PUT", "users/alice/password", &json!({ "new": PASSWORD }))?;
        root.call("POST", "targets", &target())?;
        let alice = Account::log_in(&client, "alice")?;
        join(&client, &alice)?;
        Ok(Headquarters { client, nginx, root, alice, server, directory, process })
    }

    /// Alice opens the target; returns the session once packets pass.
    pub(crate) fn open_session(&self, reason: &str) -> Result<String> {
        let opened = self.alice.call("POST", "sessions", &json!({ "target": "web", "reason": reason }))?;
        let id = opened["id"].as_str().context("a session without an identity")?.to_owned();
        retry("the session to be active", Duration::from_secs(5), || {
            let session = self.alice.get(&format!("sessions/{id}"))?;
            Ok((session["state"] == "active").then_some(()))
        })?;
        Ok(id)
    }

    /// Where the console is.
    pub(crate) fn origin(&self) -> &'static str {
        "https://203.0.113.1:8443"
    }

    /// Where the server runs.
    pub(crate) fn server(&self) -> &Host {
        &self.server
    }

    pub(crate) fn verify_audit(&self) -> Result<()> {
        let verified = self.root.call("POST", "audit/verify", &json!({}))?;
        ensure!(verified["state"] == "whole", "{verified}");
        Ok(())
    }

    /// Has the server read its configuration again.
    pub(crate) fn reload(&self) -> Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits until the server has ended.
    pub(crate) fn wait(&self, limit: Duration) -> Result<std::process::ExitStatus> {
        self.process.wait(limit)
    }

    /// The server's program.
    pub(crate) fn program(&self) -> Result<String> {
        program()
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until the server has said so.
    pub(crate) fn wait_for_log(&self, text: &str) -> Result<()> {
        self.process.wait_for_log(text, Duration::from_secs(10))
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Kills the server.
    pub(crate) fn kill(&self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.wait(Duration::from_secs(10)).map(drop)
    }

    /// Starts it again over what it left.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        self.process = start(&self.server, &self.directory)?;
        Ok(())
    }
}

/// Has the server offer its operators what they ask for here.
fn offer(directory: &str) -> Result<()> {
    let file = format!("{directory}/server.toml");
    let made = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{made}\n[operations]\nmetrics = \"{METRICS}\"\n"))?;
    Ok(())
}

fn target() -> Value {
    json!({
        "name": "web",
        "roles": ["ops"],
        "require_reason": true,
        "deny_signal": "reset",
        "dst": [{ "selector": { "ip": DEVICE, "proto": "tcp", "port": 80 }, "nat": { "addr": "192.168.7.10" } }],
    })
}

/// Alice adds her laptop, and brings its tunnel up with a stock client.
fn join(client: &Host, alice: &Account) -> Result<()> {
    let keys = KeyPair::generate(client.lab())?;
    let device = alice.call("POST", "devices", &json!({ "name": "laptop", "public_key": keys.public }))?;
    let text = |key: &str| device[key].as_str().with_context(|| format!("{key} in {device}"));
    let file = format!(
        "[Interface]\nPrivateKey = {}\nAddress = {}/32\n\n[Peer]\nPublicKey = {}\nEndpoint = {}\nAllowedIPs = 10.20.0.0/16\n",
        keys.private,
        text("client_ip")?,
        text("router_public_key")?,
        text("endpoint")?,
    );
    let path = client.lab().file(&format!("{}.conf", client.lab().interface('u')), file)?;
    let up = format!("WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go wg-quick up {}", path.display());
    client.sh(&format!("chmod 600 {}; {up}", path.display()))?.ok()?;
    Ok(())
}

fn program() -> Result<String> {
    Ok(binaries::sluice("sluice-server")?.display().to_string())
}

fn start(server: &Host, directory: &str) -> Result<Process> {
    let (program, file) = (program()?, format!("{directory}/server.toml"));
    let process = server
        .spawn_with(&[&program, "run", "--config", &file], &[("RUST_LOG", "info,sluice_server=debug")])?;
    retry("the server to be ready", Duration::from_secs(20), || {
        process.check_running()?;
        let asked = server.sh(&format!("curl -sSk --max-time 2 https://{SERVER}:8443/readyz"))?;
        Ok(asked.succeeded().then_some(()))
    })?;
    Ok(process)
}
