//! Where a development relay listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hybridrelay::env::{Acceptor, Env};
use hybridrelay_relay::{Endpoint, EndpointHost as Host};

use crate::failure::{Exit, Failure};

/// How many ports are tried from a default one on.
const ATTEMPTS: u16 = 100;

/// An address with its socket; its port is the real one.
pub(super) struct Bound {
    pub(super) endpoint: Endpoint,
    pub(super) acceptor: Box<dyn Acceptor>,
}

/// What to do about a port that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Exactly,
    OrNext,
}

/// A default address, on 127.0.0.1.
pub(super) fn loopback(scheme: &str, port: u16) -> Endpoint {
    Endpoint::new(scheme == "https", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// What the certificate must name for this address to be usable, unless it always does.
pub(super) fn host_to_certify(endpoint: &Endpoint) -> Option<String> {
    match endpoint.host() {
        Host::Address(address) if address.is_unspecified() || is_localhost(*address) => None,
        Host::Address(address) => Some(address.to_string()),
        Host::Name(name) if name == "localhost" => None,
        Host::Name(name) => Some(name.clone()),
    }
}

/// The host by which clients reach this address, IPv6 without brackets.
pub(super) fn host_for_clients(endpoint: &Endpoint, hostnames: &[String]) -> String {
    match endpoint.host() {
        Host::Name(name) => name.clone(),
        Host::Address(address) if *address == IpAddr::V4(Ipv4Addr::LOCALHOST) => "localhost".to_owned(),
        Host::Address(address) if address.is_loopback() => address.to_string(),
        Host::Address(address) => match hostnames.first() {
            Some(name) => name.clone(),
            None if address.is_unspecified() => "localhost".to_owned(),
            None => address.to_string(),
        },
    }
}

pub(super) async fn bind(endpoint: Endpoint, env: &Env, choice: Port) -> Result<Bound, Failure> {
    let mut address = endpoint.resolve(env).await.map_err(|error| unusable(&endpoint, &error))?;
    let last = match choice {
        Port::Exactly => address.port(),
        Port::OrNext => address.port() + ATTEMPTS,
    };
    loop {
        match env.bind(address).await {
            Ok(acceptor) => {
                let endpoint = endpoint.with_port(acceptor.local_addr().port());
                return Ok(Bound { endpoint, acceptor });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() < last => {
                address.set_port(address.port() + 1);
            }
            Err(error) => return Err(unusable(&endpoint.with_port(address.port()), &error)),
        }
    }
}

/// Why nothing can listen there.
pub(super) fn unusable(endpoint: &Endpoint, error: &io::Error) -> Failure {
    let failure = Failure::new(Exit::Network, "Network", format!("cannot listen on {endpoint}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => failure.with_advice("choose another port, or port 0 for any free one"),
        _ => failure,
    }
}

/// Host and port as URIs have them.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The addresses that every certificate of a development relay names.
fn is_localhost(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address == Ipv4Addr::LOCALHOST,
        IpAddr::V6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn clients_are_told_a_host_that_the_certificate_names() {
        let lan = ["relay.lan".to_owned()];
        for (text, hostnames, host, to_certify) in [
            ("https://127.0.0.1:1", &lan[..], "localhost", None),
            ("https://[::1]:1", &lan[..], "::1", None),
            ("https://127.0.0.2:1", &[], "127.0.0.2", Some("127.0.0.2")),
            ("https://0.0.0.0:1", &lan[..], "relay.lan", None),
            ("https://0.0.0.0:1", &[], "localhost", None),
            ("https://10.0.0.7:1", &[], "10.0.0.7", Some("10.0.0.7")),
            ("https://10.0.0.7:1", &lan[..], "relay.lan", Some("10.0.0.7")),
            ("https://localhost:1", &[], "localhost", None),
            ("https://box:1", &[], "box", Some("box")),
        ] {
            let endpoint = endpoint(text);
            assert_eq!(host_for_clients(&endpoint, hostnames), host, "{text}");
            assert_eq!(host_to_certify(&endpoint).as_deref(), to_certify, "{text}");
        }
    }
}
