//! What a trusted proxy in front of the relay says about its clients.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::limits::AddressBlock;
use crate::node::Node;

/// Whose address a socket counts for; nobody's if it comes from a trusted proxy, which speaks for many.
pub(super) fn address_of_peer(node: &Node, peer: SocketAddr) -> Option<AddressBlock> {
    (!is_trusted(node, peer.ip())).then(|| peer.ip().into())
}

/// Whose address a request counts for: the peer's, or what a trusted proxy says: the last in `X-Forwarded-For` that is no trusted
/// proxy itself. What stands before that anybody may have written.
pub(super) fn address_of_client(node: &Node, headers: &HeaderMap, peer: SocketAddr) -> Option<AddressBlock> {
    if let Some(address) = address_of_peer(node, peer) {
        return Some(address);
    }
    let lists = headers.get_all("x-forwarded-for").iter().rev().filter_map(|list| list.to_str().ok());
    let mut hops = lists.flat_map(|list| list.rsplit(',')).map(parse);
    hops.find(|hop| hop.is_none_or(|address| !is_trusted(node, address))).flatten().map(AddressBlock::from)
}

/// Whether a trusted proxy says that the client came over TLS (protocol.md 10, decision 16).
pub(super) fn is_secure(node: &Node, headers: &HeaderMap, peer: SocketAddr) -> bool {
    let scheme = headers.get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok());
    is_trusted(node, peer.ip())
        && scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss"))
}

fn is_trusted(node: &Node, address: IpAddr) -> bool {
    node.config().trusted_proxies.contains(&address.to_canonical())
}

/// An address, perhaps with a port, as some proxies write it.
fn parse(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bracketed = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bracketed.unwrap_or(hop).parse().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_port() {
        for (text, address) in [
            ("192.0.2.1", Some("192.0.2.1")),
            (" 192.0.2.1:1234 ", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(parse(text), address.map(|address| address.parse().expect("an address")), "{text}");
        }
    }
}
