//! The one certificate that all contenders show: P-256, for localhost.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate with its key in a PEM file, as haproxy wants it and the other contenders take it.
pub(crate) struct Certificate {
    file: tempfile::NamedTempFile,
}

impl Certificate {
    pub(crate) fn create() -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
        let mut file = tempfile::Builder::new().suffix(".pem").tempfile()?;
        write!(file, "{}{}", certificate.pem(), key.serialize_pem())?;
        file.flush()?;
        Ok(Self { file })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// What the load trusts. Every handshake is a full one: resumption would hide what most connections cost.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.path())? {
            roots.add(certificate?)?;
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// The relay's own TLS configuration with the certificate and key in a file: the same for every contender in Rust.
pub(crate) fn server_config(file: &Path) -> Result<Arc<ServerConfig>> {
    let cannot_read = || format!("{} holds no certificate with a key", file.display());
    let chain = CertificateDer::pem_file_iter(file).and_then(Iterator::collect).with_context(cannot_read)?;
    let key = PrivateKeyDer::from_pem_file(file).with_context(cannot_read)?;
    Ok(hybridrelay_relay::tls::server_config(chain, key)?)
}
