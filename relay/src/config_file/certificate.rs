//! Certificates and their keys, in files that may be renewed while the relay runs.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::tls;

/// The certificate of one address: what each new handshake is shown.
#[derive(Debug)]
pub(super) struct Certificate(watch::Sender<Arc<CertifiedKey>>);

impl Certificate {
    pub(super) fn new(first: Arc<CertifiedKey>) -> Self {
        Self(watch::Sender::new(first))
    }

    /// From the next handshake on. Whoever has shaken hands is not concerned.
    pub(super) fn replace(&self, next: Arc<CertifiedKey>) {
        self.0.send_replace(next);
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().clone())
    }
}

/// Why certificate and key cannot be used, and which of the two it is about.
pub(super) struct Unusable {
    pub(super) file: Part,
    pub(super) message: String,
    pub(super) advice: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Certificate,
    Key,
}

/// Reads a chain, the server's own certificate first, and its key.
pub(super) fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, Vec<Unusable>> {
    match (read_chain(certificate), read_key(key)) {
        (Ok(chain), Ok(private)) => {
            CertifiedKey::from_der(chain, private, &tls::provider()).map_err(|error| vec![unfit(&error, key)])
        }
        (chain, private) => Err(chain.err().into_iter().chain(private.err()).collect()),
    }
}

/// From when to when a certificate is valid; `None` if that cannot be read.
pub(super) fn validity(certificate: &CertifiedKey) -> Option<(SystemTime, SystemTime)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate.cert.first()?).ok()?;
    let time = |seconds: i64| {
        let after = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        SystemTime::UNIX_EPOCH.checked_add(after)
    };
    let validity = parsed.validity();
    Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let unusable = |message: String| {
        let advice = "name a PEM file with the certificate and those that lead to its root";
        Unusable { file: Part::Certificate, message, advice }
    };
    let bytes = std::fs::read(path).map_err(|error| unusable(unreadable(path, &error)))?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(unusable(format!("{} holds no certificate", path.display()))),
        Ok(chain) => Ok(chain),
        Err(error) => Err(unusable(format!("{} is no PEM: {error}", path.display()))),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    let unusable = |message: String| {
        let advice = "name a PEM file with the private key of the certificate, without a passphrase";
        Unusable { file: Part::Key, message, advice }
    };
    let bytes = std::fs::read(path).map_err(|error| unusable(unreadable(path, &error)))?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => unusable(format!("{} holds no private key", path.display())),
        // Without the error's text: it may show parts of the file.
        _ => unusable(format!("{} is no PEM", path.display())),
    })
}

fn unfit(error: &rustls::Error, key: &Path) -> Unusable {
    match error {
        rustls::Error::InconsistentKeys(_) => Unusable {
            file: Part::Key,
            message: format!("the key in {} is not the certificate's", key.display()),
            advice: "name the two files that were made together",
        },
        rustls::Error::InvalidCertificate(_) => Unusable {
            file: Part::Certificate,
            message: format!("the certificate cannot be used: {error}"),
            advice: "name a PEM file with an X.509 certificate",
        },
        _ => Unusable {
            file: Part::Key,
            message: format!("the key in {} cannot be used: {error}", key.display()),
            advice: "use a key of ECDSA P-256 or P-384, Ed25519, or RSA from 2048 bits on",
        },
    }
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}
