//! Where a relay listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use hybridrelay::env::{Acceptor, Env};

use crate::failure::{Exit, Failure};

/// How many ports are tried from a default one on.
const ATTEMPTS: u16 = 100;

/// An address to listen on: `https://host:port` or `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    secure: bool,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

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

impl Endpoint {
    /// A default address, on 127.0.0.1.
    pub(super) fn loopback(scheme: &str, port: u16) -> Self {
        Self { secure: scheme == "https", host: Host::Address(Ipv4Addr::LOCALHOST.into()), port }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What the certificate must name for this address to be usable, unless it always does.
    pub(super) fn host_to_certify(&self) -> Option<String> {
        match &self.host {
            Host::Address(address) if address.is_unspecified() || is_localhost(*address) => None,
            Host::Address(address) => Some(address.to_string()),
            Host::Name(name) if name == "localhost" => None,
            Host::Name(name) => Some(name.clone()),
        }
    }

    /// The host by which clients reach this address, IPv6 without brackets.
    pub(super) fn host_for_clients(&self, hostnames: &[String]) -> String {
        match &self.host {
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

    pub(super) async fn bind(mut self, env: &Env, choice: Port) -> Result<Bound, Failure> {
        let host = self.resolve(env).await?;
        let last = match choice {
            Port::Exactly => self.port,
            Port::OrNext => self.port + ATTEMPTS,
        };
        loop {
            match env.bind(SocketAddr::new(host, self.port)).await {
                Ok(acceptor) => {
                    self.port = acceptor.local_addr().port();
                    return Ok(Bound { endpoint: self, acceptor });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && self.port < last => self.port += 1,
                Err(error) => return Err(self.unusable(&error)),
            }
        }
    }

    /// The address to bind. Of a name's several addresses the first of IPv4, which every client of that name tries.
    async fn resolve(&self, env: &Env) -> Result<IpAddr, Failure> {
        let name = match &self.host {
            Host::Address(address) => return Ok(*address),
            Host::Name(name) => name,
        };
        let addresses = env.resolve(name, self.port).await.map_err(|error| self.unusable(&error))?;
        let chosen = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        chosen.map(SocketAddr::ip).ok_or_else(|| self.unusable(&io::Error::other("the name has no address")))
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        let failure = Failure::new(Exit::Network, "Network", format!("cannot listen on {self}: {error}"));
        match error.kind() {
            io::ErrorKind::AddrInUse => failure.with_advice("choose another port, or port 0 for any free one"),
            _ => failure,
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("write https://host:port or http://host:port".to_owned()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Ok(address) = rest.parse::<SocketAddr>() {
            return Ok(Self { secure, host: Host::Address(address.ip()), port: address.port() });
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} is not a port (0 to 65535)"))?)
            }
            _ => (rest, if secure { 443 } else { 80 }),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = match bare.parse::<IpAddr>() {
            Ok(address) if address.is_ipv4() || bare.len() < host.len() => Host::Address(address),
            Ok(_) => return Err("an IPv6 address is written in brackets: https://[::1]:9443".to_owned()),
            Err(_) => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
                if bare.is_empty() || bare.len() < host.len() || !bare.bytes().all(allowed) {
                    return Err(format!("{host:?} is neither a host name nor an address"));
                }
                Host::Name(bare.to_ascii_lowercase())
            }
        };
        Ok(Self { secure, host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let host = match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        write!(f, "{scheme}://{}", authority(&host, self.port))
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
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("https://127.0.0.1:9443", "https://127.0.0.1:9443"),
            ("http://[::1]:0/", "http://[::1]:0"),
            ("https://Localhost:9443", "https://localhost:9443"),
            ("https://relay.lan", "https://relay.lan:443"),
            ("http://[::]", "http://[::]:80"),
        ] {
            assert_eq!(endpoint(text).to_string(), written);
        }
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        for text in [
            "9443",
            "127.0.0.1:9443",
            "ftp://h:1",
            "https://",
            "https://:1",
            "https://h:x",
            "https://h:65536",
            "https://::1:5",
            "https://[h]:5",
            "https://[::1]x:5",
            "https://h/path",
            "https://a b:1",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
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
            assert_eq!(endpoint.host_for_clients(hostnames), host, "{text}");
            assert_eq!(endpoint.host_to_certify().as_deref(), to_certify, "{text}");
        }
    }
}
