//! What operators do to a store: make it, back it up, put it back, move it, verify it.

use std::path::Path;

use jiff::Timestamp;
use sluice_runtime::host::failure::{Exit, Failure};

use crate::auth::first_admin;
use crate::cli::{BackupOptions, InitOptions, MoveOptions};
use crate::config::ServerConfig;
use crate::init;
use crate::run::{certificate, of_store, open};
use crate::store::audit::Verified;
use crate::store::{Store, StoreUrl};

/// `init`: files, store, certificate; then what to do next.
pub(crate) async fn init(options: &InitOptions) -> Result<(), Failure> {
    init::files(options)?;
    let file = options.directory.join(init::FILE);
    let config = ServerConfig::load(&file)?;
    let store = open(&config).await?;
    let certificate = certificate(&config.server)?;
    let token = issue(&store).await?;
    store.close().await;
    println!(
        "\
Made {directory}: configuration, key, certificate, store.

Start the server:
  sluice-server run --config {file}

Then make the first administrator, within an hour and once. In a browser, which warns of a certificate that it does not
know (look whether its SHA-256 fingerprint is the one below):
  https://{https}/first-admin#{token}
or at the command line:
  sluice login https://{https} --first-admin --fingerprint {fingerprint}
  token: {token}",
        directory = options.directory.display(),
        file = file.display(),
        https = options.https,
        fingerprint = certificate.fingerprint(),
    );
    Ok(())
}

/// `admin-token`: for those who lost the first one, or the last administrator.
pub(crate) async fn admin_token(file: &Path) -> Result<(), Failure> {
    let config = ServerConfig::load(file)?;
    let store = open(&config).await?;
    let token = issue(&store).await?;
    store.close().await;
    println!("{token}");
    Ok(())
}

/// `backup`.
pub(crate) async fn backup(options: &BackupOptions) -> Result<(), Failure> {
    let config = ServerConfig::load(&options.config.config)?;
    let store = open(&config).await?;
    let written = store.backup(&options.file).await;
    store.close().await;
    written.map_err(|error| {
        Failure::new(Exit::Failed, format!("no backup in {}", options.file.display())).because(&error)
    })?;
    println!("{}: a copy of {}", options.file.display(), config.server.store);
    Ok(())
}

/// `restore`: nothing that is there is overwritten, and what is put there is whole.
pub(crate) async fn restore(options: &BackupOptions) -> Result<(), Failure> {
    let config = ServerConfig::load(&options.config.config)?;
    let StoreUrl::Sqlite(place) = &config.server.store else {
        return Err(Failure::new(Exit::Failed, "only a SQLite store is restored by this program")
            .remedy("Use pg_restore, or move-store from a SQLite store that holds the backup."));
    };
    if place.exists() {
        return Err(Failure::new(Exit::Failed, format!("{} is there already", place.display()))
            .remedy("Stop the server and move it away first."));
    }
    let failed = |error| Failure::of_system(format!("cannot restore {}", options.file.display()), &error);
    std::fs::copy(&options.file, place).map_err(failed)?;
    let store = match open(&config).await {
        Ok(store) => store,
        Err(failure) => {
            std::fs::remove_file(place).map_err(failed)?;
            return Err(failure);
        }
    };
    let told = verified(&store, &config).await;
    store.close().await;
    println!("{}: restored into {}\n{}", options.file.display(), config.server.store, told?);
    Ok(())
}

/// `move-store`.
pub(crate) async fn move_store(options: &MoveOptions) -> Result<(), Failure> {
    let config = ServerConfig::load(&options.config.config)?;
    let from = open(&config).await?;
    let to = Store::open(&options.to).await.map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot open the store {}", options.to)).because(&error)
    })?;
    let copied = from.copy_into(&to).await.map_err(|error| {
        Failure::new(Exit::Failed, format!("nothing was copied into {}", options.to)).because(&error)
    })?;
    from.close().await;
    to.close().await;
    println!("{copied} rows copied into {0}. Now write store = \"{0}\" into the configuration.", options.to);
    Ok(())
}

/// `verify-audit`.
pub(crate) async fn verify_audit(file: &Path) -> Result<(), Failure> {
    let config = ServerConfig::load(file)?;
    let store = open(&config).await?;
    let told = verified(&store, &config).await;
    store.close().await;
    println!("{}", told?);
    Ok(())
}

async fn verified(store: &Store, config: &ServerConfig) -> Result<String, Failure> {
    let verified = async { store.read().await?.verify_audit().await }.await;
    match verified.map_err(|error| of_store(&error, config))? {
        Verified::Whole { events, head } => Ok(format!("audit: {events} events, whole; head {head}")),
        Verified::Broken { seq, why } => {
            Err(Failure::new(Exit::Failed, format!("the audit chain is broken at event {seq}"))
                .because_text(why))
        }
    }
}

async fn issue(store: &Store) -> Result<String, Failure> {
    let issued = first_admin::issue(store, Timestamp::now()).await;
    let secret =
        issued.map_err(|fault| Failure::new(Exit::Failed, "cannot make a one-time token").because(&fault))?;
    Ok(secret.text())
}

/// `check-config`.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let config = ServerConfig::load(file)?;
    let pool: Vec<_> = config.server.client_ip_pool.iter().map(ToString::to_string).collect();
    println!("server {}", config.node.name);
    println!("  store            {}", config.server.store);
    println!("  https            {}", config.server.https);
    println!("  tunnels          UDP {}", config.node.listen_port);
    println!("  client IP pool   {}", pool.join(", "));
    println!("\n{}: in order", file.display());
    Ok(())
}
