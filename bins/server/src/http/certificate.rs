//! The server's certificate: the operator's own, or one that it makes for itself at first start. Clients pin the latter by
//! its fingerprint, which `init` prints on the operator's terminal.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs as provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// A certificate made here, with its key, is in this file.
const FILE: &str = "tls.pem";
/// It is pinned, not chained: it need not end before the server does.
const LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// A certificate with its key.
pub(crate) struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// A file could not be read or written.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// A file has something else in it.
    #[error("{path}: {why}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It could not be made.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// Certificate and key do not go together, or are of a kind that is not known.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] tokio_rustls::rustls::Error),
}

impl Certificate {
    /// The operator's own: a chain that begins with the server's certificate, and its key, as PEM.
    pub(crate) fn load(chain: &Path, key: &Path) -> Result<Certificate, CertificateError> {
        let pem = |path: &Path, why: String| CertificateError::Pem { path: path.to_owned(), why };
        let read = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = read.map_err(|why| pem(chain, why.to_string()))?;
        if certificates.is_empty() {
            return Err(pem(chain, "there is no certificate in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|why| pem(key, why.to_string()))?;
        Ok(Certificate { chain: certificates, key })
    }

    /// The one that was made in this directory; makes one for these hosts if there is none.
    pub(crate) fn load_or_make(
        directory: &Path,
        hosts: &[String],
        now: Timestamp,
    ) -> Result<Certificate, CertificateError> {
        let path = directory.join(FILE);
        if !path.exists() {
            let pem = make(hosts, now)?;
            write_new(&path, pem.as_bytes())
                .map_err(|why| CertificateError::File { path: path.clone(), why })?;
        }
        Certificate::load(&path, &path)
    }

    /// SHA-256 of the certificate, as browsers and `openssl x509 -fingerprint -sha256` show it.
    pub(crate) fn fingerprint(&self) -> String {
        let first = self.chain.first().map(|certificate| certificate.as_ref()).unwrap_or_default();
        let bytes: Vec<_> =
            digest(&SHA256, first).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }

    /// TLS 1.2 and 1.3 with this certificate, for HTTP/2 and HTTP/1.1.
    pub(crate) fn config(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let provider = Arc::new(provider::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config =
            builder.with_no_client_auth().with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// What connections are encrypted with from now on. Cloning it is cheap, and both are the same.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// With this, see [`Certificate::config`].
    pub(crate) fn new(config: Arc<ServerConfig>) -> Tls {
        Tls(Arc::new(RwLock::new(config)))
    }

    /// With another; connections that there are stay as they are.
    pub(crate) fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}

/// Certificate and key, as PEM.
fn make(hosts: &[String], now: Timestamp) -> Result<Zeroizing<String>, CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.subject_alt_names = hosts.iter().map(|host| name(host)).collect::<Result<_, _>>()?;
    params.distinguished_name.push(DnType::CommonName, "Sluice");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = day_of(now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(now));
    params.not_after = day_of(now.checked_add(LIFE).unwrap_or(Timestamp::MAX));
    let certificate = params.self_signed(&key)?;
    let private = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new(format!("{}{}", certificate.pem(), private.as_str())))
}

fn name(host: &str) -> Result<SanType, rcgen::Error> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(host.try_into()?)),
    }
}

fn day_of(moment: Timestamp) -> time::OffsetDateTime {
    let date = moment.to_zoned(jiff::tz::TimeZone::UTC).date();
    date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
}

/// The file is there whole or not at all, and only its owner reads it.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("new");
    let _ = fs::remove_file(&partial);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = Certificate::load_or_make(directory.path(), &hosts, Timestamp::now()).unwrap();
        let again = Certificate::load_or_make(directory.path(), &[], Timestamp::now()).unwrap();
        assert_eq!(made.fingerprint(), again.fingerprint());
        assert_eq!(made.fingerprint().len(), 95);
        let mode = fs::metadata(directory.path().join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(made.config().is_ok());
        assert!(!format!("{made:?}").contains("key"));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut paths = Vec::new();
        for directory in [&a, &b] {
            Certificate::load_or_make(directory.path(), &["a.example".to_owned()], Timestamp::now()).unwrap();
            paths.push(directory.path().join(FILE));
        }
        let mixed = Certificate::load(&paths[0], &paths[1]).unwrap();
        assert!(matches!(mixed.config(), Err(CertificateError::Unusable(_))));
        assert!(Certificate::load(Path::new("/nonexistent"), &paths[0]).is_err());
    }
}
