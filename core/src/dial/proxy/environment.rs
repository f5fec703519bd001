//! Proxies by environment variables, with curl's names and meaning.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ProxyServer;
use crate::dial::DialTarget;
use crate::{Error, Result};

/// For relays with TLS.
const WITH_TLS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// For relays without. Not `HTTP_PROXY`: in CGI programs a request's `Proxy` header sets it.
const WITHOUT_TLS: [&str; 3] = ["http_proxy", "all_proxy", "ALL_PROXY"];

const EXEMPT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// What the environment variables said. A value that is not usable is an error only where it would be used.
pub(crate) struct Environment {
    with_tls: Option<Result<ProxyServer>>,
    without_tls: Option<Result<ProxyServer>>,
    exempt: Vec<Exemption>,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, PartialEq, Eq)]
struct Exemption {
    hosts: Hosts,
    /// Every port if it is missing.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Hosts {
    All,
    Network(IpNet),
    /// A name in lower case, with its subdomains.
    Domain(String),
}

impl Environment {
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let find = |names: &[&'static str]| {
            let mut values = names.iter().filter_map(|name| Some((*name, variable(name)?)));
            values.find(|(_, value)| !value.trim().is_empty())
        };
        let server = |names: &[&'static str]| find(names).map(|(name, value)| ProxyServer::parse(&value, Some(name)));
        let exempt = find(&EXEMPT).map(|(_, value)| value).unwrap_or_default();
        let entries = exempt.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        Self {
            with_tls: server(&WITH_TLS),
            without_tls: server(&WITHOUT_TLS),
            exempt: entries.map(Exemption::parse).collect(),
        }
    }

    pub(super) fn proxy_for(&self, target: &DialTarget) -> Result<Option<&ProxyServer>> {
        let server = if target.tls { &self.with_tls } else { &self.without_tls };
        let exempt = || self.exempt.iter().any(|exemption| exemption.covers(&target.host, target.port));
        match server {
            None => Ok(None),
            Some(_) if is_loopback(&target.host) || exempt() => Ok(None),
            Some(server) => server.as_ref().map(Some).map_err(Error::clone),
        }
    }
}

impl Exemption {
    fn parse(entry: &str) -> Self {
        let (host, port) = split_port(entry);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let network = host.parse().or_else(|_| host.parse::<IpAddr>().map(IpNet::from));
        let hosts = match network {
            Ok(network) => Hosts::Network(network),
            Err(_) if host == "*" => Hosts::All,
            Err(_) => {
                let domain = host.strip_prefix('*').unwrap_or(host).trim_start_matches('.');
                Hosts::Domain(domain.to_ascii_lowercase())
            }
        };
        Self { hosts, port }
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|only| only == port)
            && match &self.hosts {
                Hosts::All => true,
                Hosts::Network(network) => host.parse::<IpAddr>().is_ok_and(|ip| network.contains(&ip)),
                Hosts::Domain(domain) => is_within(host, domain),
            }
    }
}

/// Takes a port off `host:port` or `[address]:port`; an address with bare colons has none.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// Whether `host` is `domain`, which is in lower case, or below it.
fn is_within(host: &str, domain: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.strip_suffix(domain) {
        Some(rest) => !domain.is_empty() && (rest.is_empty() || rest.ends_with('.')),
        None => false,
    }
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => is_within(host, "localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    /// What is dialled through which proxy, given these variables.
    fn proxy(variables: &[(&str, &str)], target: &str) -> Option<String> {
        let read = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned());
        let target = DialTarget::parse(target).unwrap();
        Environment::read(read).proxy_for(&target).unwrap().map(ToString::to_string)
    }

    #[test]
    fn the_variable_of_the_scheme_wins_over_the_one_for_all() {
        let variables = [("https_proxy", "tls:1"), ("http_proxy", "plain:2"), ("all_proxy", "socks5://all:3")];
        assert_eq!(proxy(&variables, "wss://relay/x").unwrap(), "http://tls:1");
        assert_eq!(proxy(&variables, "ws://relay/x").unwrap(), "http://plain:2");
        assert_eq!(proxy(&variables[2..], "wss://relay/x").unwrap(), "socks5://all:3");
        assert_eq!(proxy(&variables[2..], "ws://relay/x").unwrap(), "socks5://all:3");
        assert_eq!(proxy(&[], "wss://relay/x"), None);
    }

    #[test]
    fn lower_case_wins_and_an_empty_value_counts_as_unset() {
        let variables = [("https_proxy", " "), ("HTTPS_PROXY", "upper:1"), ("ALL_PROXY", "all:3")];
        assert_eq!(proxy(&variables, "wss://relay/x").unwrap(), "http://upper:1");
        let variables = [("https_proxy", "lower:1"), ("HTTPS_PROXY", "upper:1")];
        assert_eq!(proxy(&variables, "wss://relay/x").unwrap(), "http://lower:1");
    }

    #[test]
    fn upper_case_http_proxy_is_not_read() {
        assert_eq!(proxy(&[("HTTP_PROXY", "attacker:1")], "ws://relay/x"), None);
    }

    #[test]
    fn loopback_is_never_proxied() {
        for host in ["localhost", "LOCALHOST.", "x.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"]
        {
            assert_eq!(proxy(&[("all_proxy", "p:1")], &format!("ws://{host}:9000/x")), None, "{host}");
        }
        assert!(proxy(&[("all_proxy", "p:1")], "ws://localhost.example.net/x").is_some());
    }

    #[test]
    fn no_proxy_exempts_hosts_domains_addresses_and_networks() {
        let direct = |list: &str, host: &str| {
            proxy(&[("all_proxy", "p:1"), ("no_proxy", list)], &format!("wss://{host}/x")).is_none()
        };
        assert!(direct("relay.example.net", "relay.example.net"));
        assert!(direct("relay.example.net", "Relay.Example.NET"));
        assert!(direct("example.net", "relay.example.net"));
        assert!(direct(".example.net", "relay.example.net"));
        assert!(direct("*.example.net", "relay.example.net"));
        assert!(direct(".example.net", "example.net"));
        assert!(!direct("example.net", "notexample.net"));
        assert!(!direct("relay.example.net", "example.net"));
        assert!(direct("a, b  relay.example.net", "relay.example.net"));
        assert!(direct("*", "relay.example.net"));
        assert!(direct("*", "10.1.2.3"));
        assert!(direct("10.0.0.0/8", "10.1.2.3"));
        assert!(!direct("10.0.0.0/8", "11.1.2.3"));
        assert!(!direct("10.0.0.0/8", "relay.example.net"));
        assert!(direct("10.1.2.3", "10.1.2.3"));
        assert!(direct("fd00::/8", "[fd00::1]"));
        assert!(direct("fd00::1", "[fd00::1]"));
        assert!(direct("[fd00::1]", "[fd00::1]"));
        assert!(!direct(",. ,", "relay.example.net"));
    }

    #[test]
    fn an_exemption_with_a_port_is_for_that_port_only() {
        let direct = |list: &str, authority: &str| {
            proxy(&[("all_proxy", "p:1"), ("NO_PROXY", list)], &format!("wss://{authority}/x")).is_none()
        };
        assert!(direct("relay:9443", "relay:9443"));
        assert!(!direct("relay:9443", "relay"));
        assert!(direct("relay:443", "relay"));
        assert!(direct("10.0.0.0/8:9443", "10.1.2.3:9443"));
        assert!(direct("[fd00::1]:9443", "[fd00::1]:9443"));
        assert!(!direct("[fd00::1]:9443", "[fd00::1]:9444"));
        assert!(direct("*:9443", "relay:9443"));
    }

    #[test]
    fn an_unusable_value_is_an_error_only_where_it_counts() {
        let read = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://ann:hunter2@p:x".to_owned()),
            "NO_PROXY" => Some("exempt".to_owned()),
            _ => None,
        };
        let environment = Environment::read(read);
        let proxy_for = |target: &str| environment.proxy_for(&DialTarget::parse(target).unwrap()).map(|_| ());
        assert!(proxy_for("ws://relay/x").is_ok());
        assert!(proxy_for("wss://exempt/x").is_ok());
        let error = proxy_for("wss://relay/x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("HTTPS_PROXY") && !format!("{error:?}").contains("hunter2"));
    }
}
