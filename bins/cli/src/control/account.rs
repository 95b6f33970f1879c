//! Logging in and out, passwords, tokens.

use std::io::IsTerminal;

use sluice_api::{FirstAdmin, LogIn, LoggedIn, NewToken, SetPassword, TokenSpec, TokenView, WhoAmI};
use sluice_runtime::host::failure::{Exit, Failure};
use zeroize::Zeroizing;

use super::client::{Ask, Client, Place};
use super::credentials::Credentials;
use super::options::{FormatOption, LoginOptions, PasswdOptions, TokenCommand};
use super::output::{print, say};
use super::prompt;
use super::trust::Fingerprint;

/// Logs in, and keeps the token.
pub(super) async fn log_in(options: &LoginOptions) -> Result<(), Failure> {
    let place = Place::parse(&options.url)?;
    let fingerprint = trusted(&place, options).await?;
    let client = Client::new(place, fingerprint, None);
    let from_stdin = options.password_stdin;
    let user = &options.user;
    let password = if options.first_admin {
        let given = std::env::var("SLUICE_ADMIN_TOKEN").ok().map(Zeroizing::new);
        let token = match given {
            Some(token) => token,
            None => prompt::secret("one-time token", from_stdin)?,
        };
        let password = prompt::new_secret("password", from_stdin)?;
        let body =
            FirstAdmin { token: token.to_string(), user: user.clone(), password: password.to_string() };
        client.tell(Ask::post("/api/v1/first-admin").with(&body)?).await?;
        password
    } else {
        prompt::secret("password", from_stdin)?
    };
    let name = format!("sluice on {}", host_name());
    let body = LogIn { user: user.clone(), password: password.to_string(), token: Some(name) };
    let mut given: LoggedIn = client.ask(Ask::post("/api/v1/login").with(&body)?).await?;
    let token = given.token.take();
    let token = token.ok_or_else(|| Failure::new(Exit::Failed, "the server gave no token"))?;
    Credentials {
        server: options.url.clone(),
        fingerprint: fingerprint.map(|fingerprint| fingerprint.to_string()),
        user: given.who.user.clone(),
        token,
    }
    .write()?;
    say(&format!("logged in as {} until {}\n", given.who.user, given.who.expires))
}

/// The fingerprint that was given, or none if the system's authorities vouch for the server, or the one agreed to.
async fn trusted(place: &Place, options: &LoginOptions) -> Result<Option<Fingerprint>, Failure> {
    if options.fingerprint.is_some() {
        return Ok(options.fingerprint);
    }
    let client = Client::new(place.clone(), None, None);
    let Err(failure) = client.probe().await else { return Ok(None) };
    let Some(seen) = client.seen().filter(|_| std::io::stdin().is_terminal()) else { return Err(failure) };
    eprintln!("No authority that this system trusts vouches for the server. Its certificate is\n  {seen}");
    if prompt::agrees("Is that what sluice-server printed?")? { Ok(Some(seen)) } else { Err(failure) }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Makes the token worthless, and forgets it.
pub(super) async fn log_out(client: &Client) -> Result<(), Failure> {
    let told = client.tell(Ask::post("/api/v1/logout")).await;
    Credentials::remove()?;
    told.map(drop).map_err(Failure::from)?;
    say("logged out\n")
}

/// Who the server thinks one is.
pub(super) async fn who_am_i(client: &Client, format: &FormatOption) -> Result<(), Failure> {
    let who: WhoAmI = client.ask(Ask::get("/api/v1/whoami")).await?;
    let right = serde_json::to_value(who.right).ok().and_then(|right| right.as_str().map(str::to_owned));
    let row = vec![
        who.user.clone(),
        who.tenant.clone().unwrap_or_default(),
        right.unwrap_or_default(),
        who.scopes.join(","),
        who.expires.to_string(),
    ];
    print(format.output, &who, &["user", "tenant", "right", "scopes", "until"], &[row])
}

/// Sets one's own password or, as an administrator, another user's.
pub(super) async fn set_password(client: &Client, options: &PasswdOptions) -> Result<(), Failure> {
    let from_stdin = options.password_stdin;
    let old = match options.user {
        Some(_) => None,
        None => Some(prompt::secret("password so far", from_stdin)?),
    };
    let new = prompt::new_secret("new password", from_stdin)?;
    let path = match &options.user {
        Some(user) => format!("{}/password", super::kind::Kind::User.item(user)),
        None => "/api/v1/password".to_owned(),
    };
    let body = SetPassword { old: old.map(|old| old.to_string()), new: new.to_string() };
    client.tell(Ask::put(path).with(&body)?).await?;
    say("password set\n")
}

/// Tokens for programs.
pub(super) async fn tokens(client: &Client, command: &TokenCommand) -> Result<(), Failure> {
    let path = "/api/v1/tokens";
    match command {
        TokenCommand::Create { name, duration, scopes } => {
            let spec = TokenSpec { name: name.clone(), duration: *duration, scopes: scopes.clone() };
            let made: NewToken = client.ask(Ask::post(path).with(&spec)?).await?;
            eprintln!("Good until {}. It is not shown again:", made.view.expires);
            say(&format!("{}\n", *Zeroizing::new(made.token)))
        }
        TokenCommand::List(format) => {
            let tokens: Vec<TokenView> = client.list(path, "", usize::MAX).await?;
            let row = |token: &TokenView| {
                let seen = token.seen.map(|seen| seen.to_string()).unwrap_or_default();
                vec![
                    token.id.to_string(),
                    token.name.clone(),
                    token.scopes.join(","),
                    token.expires.to_string(),
                    seen,
                ]
            };
            let rows: Vec<_> = tokens.iter().map(row).collect();
            print(format.output, &tokens, &["id", "name", "scopes", "until", "last used"], &rows)
        }
        TokenCommand::Revoke { id } => {
            client.tell(Ask::delete(format!("{path}/{id}"))).await?;
            say("token revoked\n")
        }
    }
}
