//! Where a relay listens, as people write it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hybridrelay::env::Env;

/// An address to listen on: `https://host:port` or `http://host:port`. The port is 443 or 80 if none is given; 0 takes any free
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    secure: bool,
    host: EndpointHost,
    port: u16,
}

/// The host of an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointHost {
    /// An address of this machine, or the unspecified one for all of them.
    Address(IpAddr),
    /// A name that leads to one, lower-cased.
    Name(String),
}

impl Endpoint {
    /// An endpoint at an address.
    pub fn new(secure: bool, address: SocketAddr) -> Self {
        Self { secure, host: EndpointHost::Address(address.ip()), port: address.port() }
    }

    /// Whether it is `https`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host.
    pub fn host(&self) -> &EndpointHost {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same at another port, such as the one that was really bound.
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The address to bind. Of a name's several addresses the first of IPv4, which every client of that name tries.
    ///
    /// # Errors
    ///
    /// What the resolver says, or that the name has no address.
    pub async fn resolve(&self, env: &Env) -> io::Result<SocketAddr> {
        let name = match &self.host {
            EndpointHost::Address(address) => return Ok(SocketAddr::new(*address, self.port)),
            EndpointHost::Name(name) => name,
        };
        let addresses = env.resolve(name, self.port).await?;
        let chosen = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        chosen
            .map(|address| SocketAddr::new(address.ip(), self.port))
            .ok_or_else(|| io::Error::other("the name has no address"))
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
            return Ok(Self::new(secure, address));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} is not a port (0 to 65535)"))?)
            }
            _ => (rest, if secure { 443 } else { 80 }),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = match bare.parse::<IpAddr>() {
            Ok(address) if address.is_ipv4() || bare.len() < host.len() => EndpointHost::Address(address),
            Ok(_) => return Err("an IPv6 address is written in brackets: https://[::1]:9443".to_owned()),
            Err(_) => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
                if bare.is_empty() || bare.len() < host.len() || !bare.bytes().all(allowed) {
                    return Err(format!("{host:?} is neither a host name nor an address"));
                }
                EndpointHost::Name(bare.to_ascii_lowercase())
            }
        };
        Ok(Self { secure, host, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        match &self.host {
            EndpointHost::Address(IpAddr::V6(address)) => write!(f, "{scheme}://[{address}]:{}", self.port),
            EndpointHost::Address(address) => write!(f, "{scheme}://{address}:{}", self.port),
            EndpointHost::Name(name) => write!(f, "{scheme}://{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("https://127.0.0.1:9443", "https://127.0.0.1:9443"),
            ("http://[::1]:0/", "http://[::1]:0"),
            ("https://Localhost:9443", "https://localhost:9443"),
            ("https://relay.lan", "https://relay.lan:443"),
            ("http://[::]", "http://[::]:80"),
        ] {
            assert_eq!(text.parse::<Endpoint>().expect("an address").to_string(), written);
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
}
