//! TLS by the rules of the data path: cheap ciphers first, resumption, bounded buffers.

use std::io;
use std::sync::Arc;

use hybridrelay::env::BoxSocket;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ResolvesServerCert;
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

mod ahead;

use ahead::ReadAhead;

/// HTTP/2 in a TLS handshake.
const HTTP2: &[u8] = b"h2";

/// What rustls may hold of one connection's plaintext and ciphertext each, three records. It writes as much at once: two would take a few
/// hundredths more of the CPU time, and with four a stalled pair would hold as much as it may at most.
const BUFFER_LIMIT: usize = 48 << 10;

/// A server configuration for a certificate chain and its key.
///
/// TLS 1.2 and 1.3, session tickets, no early data, ALPN `h2` and `http/1.1`; the server chooses the cipher and prefers AES-128-GCM.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    finish(builder.with_no_client_auth().with_single_cert(chain, key)?)
}

/// A server configuration whose certificate is looked up at each handshake, so that it can be renewed while running.
pub fn server_config_with_resolver(resolver: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    finish(builder.with_no_client_auth().with_cert_resolver(resolver))
}

fn finish(mut config: ServerConfig) -> Result<Arc<ServerConfig>, rustls::Error> {
    config.ignore_client_order = true;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The provider with AES-128-GCM before AES-256-GCM: a quarter less work per byte, and no weaker in practice.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 2,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => 3,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 4,
        _ => 5,
    });
    Arc::new(provider)
}

/// Shakes hands over `socket`, and tells whether HTTP/2 was agreed on. The caller bounds the time.
pub(crate) async fn accept(config: Arc<ServerConfig>, socket: BoxSocket) -> io::Result<(BoxSocket, bool)> {
    let socket: BoxSocket = Box::new(ReadAhead::new(socket));
    let stream =
        TlsAcceptor::from(config).accept_with(socket, |session| session.set_buffer_limit(Some(BUFFER_LIMIT))).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    Ok((Box::new(tokio_rustls::TlsStream::from(stream)), http2))
}
