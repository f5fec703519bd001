//! TLS for clients: the platform's roots plus the program's own, with an explicit crypto provider.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::env::BoxSocket;
use crate::{Error, ErrorKind, Result};

/// How a client trusts servers. The configuration is made at the first use, because reading the platform's roots takes
/// milliseconds that a plain connection need not pay.
#[derive(Clone, Default)]
pub(crate) struct ClientTls(Arc<Settings>);

#[derive(Default)]
struct Settings {
    extra_roots: Vec<CertificateDer<'static>>,
    skip_verify: bool,
    config: OnceLock<Arc<ClientConfig>>,
    /// The same for HTTP requests, which may travel over HTTP/2.
    http: OnceLock<Arc<ClientConfig>>,
}

impl ClientTls {
    /// Trust by the platform's roots and the certificates in `extra_ca_pem`, which add and never replace.
    pub(crate) fn new(extra_ca_pem: &[Vec<u8>], skip_verify: bool) -> Result<Self> {
        let mut extra_roots = Vec::new();
        for pem in extra_ca_pem {
            let before = extra_roots.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                extra_roots
                    .push(certificate.map_err(|error| Error::invalid(format!("extra_ca_pem is not PEM: {error}")))?);
            }
            if extra_roots.len() == before {
                return Err(Error::invalid("extra_ca_pem holds no certificate (expected -----BEGIN CERTIFICATE-----)"));
            }
        }
        Ok(Self(Arc::new(Settings { extra_roots, skip_verify, ..Settings::default() })))
    }

    /// A configuration of the caller's own, taken as it is.
    pub(crate) fn from_config(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(Settings {
            config: OnceLock::from(config.clone()),
            http: OnceLock::from(config),
            ..Settings::default()
        }))
    }

    pub(super) async fn handshake(&self, socket: BoxSocket, host: &str) -> Result<BoxSocket> {
        let stream = connect(self.config()?, socket, host).await?;
        Ok(Box::new(tokio_rustls::TlsStream::from(stream)))
    }

    /// A handshake that offers HTTP/2; tells whether the server took it.
    pub(super) async fn handshake_for_http(&self, socket: BoxSocket, host: &str) -> Result<(BoxSocket, bool)> {
        let stream = connect(self.http_config()?, socket, host).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(tokio_rustls::TlsStream::from(stream)), is_http2))
    }

    fn http_config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.0.http.get() {
            return Ok(config.clone());
        }
        let mut made = (*self.config()?).clone();
        made.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(self.0.http.get_or_init(|| Arc::new(made)).clone())
    }

    fn config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.0.config.get() {
            return Ok(config.clone());
        }
        let made = self.0.make()?;
        Ok(self.0.config.get_or_init(|| made).clone())
    }
}

async fn connect(config: Arc<ClientConfig>, socket: BoxSocket, host: &str) -> Result<TlsStream<BoxSocket>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::invalid(format!("{host} is neither a DNS name nor an IP address")))?;
    let connector = TlsConnector::from(config);
    let handshake = connector.connect_with(name, socket, |session| session.set_buffer_limit(Some(32 * 1024)));
    handshake.await.map_err(|error| describe(error, host))
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("extra_roots", &self.0.extra_roots.len())
            .field("skip_verify", &self.0.skip_verify)
            .finish_non_exhaustive()
    }
}

impl Settings {
    fn make(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot configure TLS").with_source(error))?;
        let verifier: Arc<dyn ServerCertVerifier> =
            if self.skip_verify { Arc::new(AcceptAny(provider)) } else { self.verifier(provider)? };
        let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        // WebSockets travel over HTTP/1.1 only (protocol.md 10, decision 42).
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        let verifier = Verifier::new_with_extra_roots(self.extra_roots.iter().cloned(), provider).map_err(|error| {
            Error::new(ErrorKind::Tls, "no trusted root certificates are available")
                .with_reason(error.to_string())
                .with_hint("install the system's CA certificates (Debian: ca-certificates) or give extra_ca_pem")
                .with_source(error)
        })?;
        Ok(Arc::new(verifier))
    }
}

/// Turns a failed handshake into an error that says whether the network, TLS, or trust failed.
fn describe(error: io::Error, host: &str) -> Error {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return Error::new(ErrorKind::Network, format!("{host} closed the connection during the TLS handshake"))
            .with_reason(error.to_string())
            .with_hint("is this a plain (non-TLS) port?")
            .with_source(error);
    };
    let hint = match tls {
        rustls::Error::InvalidCertificate(_) => {
            "if the relay uses a certificate authority of your own, give extra_ca_pem"
        }
        rustls::Error::InvalidMessage(_) => "is this a plain (non-TLS) port?",
        _ => "see the reason",
    };
    Error::new(ErrorKind::Tls, format!("the TLS handshake with {host} failed"))
        .with_reason(tls.to_string())
        .with_hint(hint)
        .with_source(error)
}

/// Accepts every certificate: `insecure_skip_verify`.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
