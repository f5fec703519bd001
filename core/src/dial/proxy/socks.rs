//! SOCKS5 proxies (RFC 1928, RFC 1929).

use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error as SocksError, IntoTargetAddr};

use super::server::{Credentials, ProxyServer};
use crate::dial::{DialTarget, tcp};
use crate::env::{BoxSocket, Env};
use crate::{Error, ErrorKind, Result};

/// Leaves the resolution of the relay's host to the proxy.
pub(super) async fn tunnel_to_name(proxy: &ProxyServer, socket: BoxSocket, target: &DialTarget) -> Result<BoxSocket> {
    let asked = handshake(proxy, socket, (target.host.as_str(), target.port)).await;
    asked.map_err(|error| describe(proxy, target, error))
}

/// Resolves the relay's host here and asks for its addresses one after the other.
pub(super) async fn tunnel_to_address(proxy: &ProxyServer, env: &Env, target: &DialTarget) -> Result<BoxSocket> {
    let mut last_error = SocksError::HostUnreachable;
    for address in tcp::resolve(env, &target.host, target.port).await? {
        match handshake(proxy, proxy.dial(env).await?, address).await {
            Ok(socket) => return Ok(socket),
            Err(error) if is_about_the_address(&error) => last_error = error,
            Err(error) => return Err(describe(proxy, target, error)),
        }
    }
    Err(describe(proxy, target, last_error))
}

async fn handshake<'a>(
    proxy: &'a ProxyServer,
    socket: BoxSocket,
    target: impl IntoTargetAddr<'a>,
) -> Result<BoxSocket, SocksError> {
    let stream = match proxy.credentials() {
        Some(Credentials { user, password }) => {
            Socks5Stream::connect_with_password_and_socket(socket, target, user.expose(), password.expose()).await?
        }
        None => Socks5Stream::connect_with_socket(socket, target).await?,
    };
    Ok(stream.into_inner())
}

/// Whether another address of the same host may be answered otherwise.
fn is_about_the_address(error: &SocksError) -> bool {
    matches!(
        error,
        SocksError::GeneralSocksServerFailure
            | SocksError::NetworkUnreachable
            | SocksError::HostUnreachable
            | SocksError::ConnectionRefused
            | SocksError::TtlExpired
            | SocksError::AddressTypeNotSupported
    )
}

fn describe(proxy: &ProxyServer, target: &DialTarget, error: SocksError) -> Error {
    match error {
        SocksError::NoAcceptableAuthMethods | SocksError::AuthorizationRequired => {
            proxy.wants_credentials("no authentication method suits both sides")
        }
        SocksError::PasswordAuthFailure(code) => {
            proxy.wants_credentials(format!("SOCKS5 authentication status {code}"))
        }
        SocksError::Io(error) => proxy
            .error(ErrorKind::Network, "closed the connection during the SOCKS5 handshake")
            .with_reason(error.to_string())
            .with_source(error),
        SocksError::InvalidTargetAddress(_) => Error::invalid("the relay's host name is longer than SOCKS5 allows"),
        SocksError::GeneralSocksServerFailure
        | SocksError::ConnectionNotAllowedByRuleset
        | SocksError::NetworkUnreachable
        | SocksError::HostUnreachable
        | SocksError::ConnectionRefused
        | SocksError::TtlExpired
        | SocksError::CommandNotSupported
        | SocksError::AddressTypeNotSupported => {
            let what = format!("does not connect to {}", target.host_and_port());
            proxy.error(ErrorKind::Network, what).with_reason(error.to_string()).with_source(error)
        }
        error => proxy.error(ErrorKind::Protocol, "did not answer in SOCKS5").with_source(error),
    }
}
