//! Where relays and hybrid connections are.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::protocol::uri::VALUE;
use crate::{Error, Result};

/// The longest name of a hybrid connection (protocol.md 7.3).
const MAX_ENTITY: usize = 260;

/// What is encoded in a path that a program gives; a `%` stays, so that encoded paths pass.
pub(crate) const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\')
    .add(b'^')
    .add(b'|');

/// What is encoded in a query that a program gives.
pub(crate) const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\')
    .add(b'^')
    .add(b'|');

/// The name of a hybrid connection: one or more segments, compared without case (protocol.md 1.3, 7.3).
#[derive(Clone)]
pub struct EntityPath {
    spelled: String,
    canonical: String,
}

impl EntityPath {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.spelled
    }

    /// The name in lower case, which stands for all spellings.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl FromStr for EntityPath {
    type Err = Error;

    /// Slashes at both ends are dropped.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for names that are empty, longer than 260 characters, hold other characters than letters, digits, `.`, `-`,
    /// `_` and `/`, do not begin and end with a letter or digit, or have an empty segment.
    fn from_str(text: &str) -> Result<Self> {
        let name = text.trim_matches('/');
        let refuse = |why: &str| Err(Error::invalid(format!("{text:?} cannot name a hybrid connection: {why}")));
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.len() > MAX_ENTITY {
            return refuse("it is longer than 260 characters");
        }
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | '/');
        if let Some(bad) = name.chars().find(|character| !allowed(*character)) {
            return refuse(&format!("{bad:?} is not allowed, only letters, digits, '.', '-', '_' and '/'"));
        }
        let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        if !outer(name.as_bytes().first()) || !outer(name.as_bytes().last()) {
            return refuse("it must begin and end with a letter or digit");
        }
        if name.contains("//") {
            return refuse("it has an empty segment");
        }
        Ok(Self { spelled: name.to_owned(), canonical: name.to_ascii_lowercase() })
    }
}

impl fmt::Display for EntityPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelled)
    }
}

impl fmt::Debug for EntityPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.spelled, f)
    }
}

impl PartialEq for EntityPath {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for EntityPath {}

impl PartialEq<str> for EntityPath {
    fn eq(&self, other: &str) -> bool {
        self.canonical.eq_ignore_ascii_case(other)
    }
}

impl Hash for EntityPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl PartialOrd for EntityPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EntityPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.canonical.cmp(&other.canonical)
    }
}

/// The address of a relay's namespace and, optionally, of a hybrid connection in it.
///
/// Written `sb://host[:port]/entity`; `https://` and `wss://` mean the same, `http://` and `ws://` mean without TLS.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    host: String,
    port: Option<u16>,
    plaintext: bool,
    entity: Option<EntityPath>,
}

impl RelayAddress {
    /// The namespace's host name or IP address, IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: 443, or 80 without TLS, unless the address names one.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.plaintext { 80 } else { 443 })
    }

    /// Host and, if the address names one, port.
    pub fn authority(&self) -> String {
        let host = self.bracketed_host();
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// Whether TLS is off.
    pub fn is_plaintext(&self) -> bool {
        self.plaintext
    }

    /// The hybrid connection.
    pub fn entity(&self) -> Option<&EntityPath> {
        self.entity.as_ref()
    }

    /// The same namespace with this hybrid connection.
    pub fn with_entity(mut self, entity: EntityPath) -> Self {
        self.entity = Some(entity);
        self
    }

    /// The namespace alone.
    pub(crate) fn without_entity(mut self) -> Self {
        self.entity = None;
        self
    }

    /// The same address without TLS, as `UseDevelopmentEmulator=true` asks.
    pub fn with_plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// What a token for this address must name: `http://host/entity/`, the form that every server accepts (protocol.md 2.2).
    pub fn audience(&self) -> String {
        match &self.entity {
            Some(entity) => format!("http://{}/{entity}/", self.bracketed_host()),
            None => format!("http://{}/", self.bracketed_host()),
        }
    }

    /// Where a listener opens its control channel (protocol.md 1.3).
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the address names no hybrid connection.
    pub fn listen_uri(&self, id: &str) -> Result<String> {
        let id = utf8_percent_encode(id, VALUE);
        Ok(format!("{}/$hc/{}?sb-hc-action=listen&sb-hc-id={id}", self.websocket_base(), self.require_entity()?))
    }

    /// Where a sender connects (protocol.md 1.3): the program's suffix and query first, then the relay's parameters.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the address names no hybrid connection, or the query holds a name that belongs to the relay.
    pub fn connect_uri(&self, suffix: &str, query: &str, id: &str) -> Result<String> {
        let entity = self.require_entity()?;
        let query = query.strip_prefix('?').unwrap_or(query);
        let is_relays = |piece: &str| piece.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("sb-hc-"));
        if query.split('&').any(is_relays) {
            return Err(Error::invalid("query parameters that begin with 'sb-hc-' belong to the relay"));
        }
        let slash = if suffix.is_empty() || suffix.starts_with('/') { "" } else { "/" };
        let suffix = utf8_percent_encode(suffix, PATH);
        let and = if query.is_empty() { "" } else { "&" };
        let query = utf8_percent_encode(query, QUERY);
        let id = utf8_percent_encode(id, VALUE);
        let base = self.websocket_base();
        Ok(format!("{base}/$hc/{entity}{slash}{suffix}?{query}{and}sb-hc-action=connect&sb-hc-id={id}"))
    }

    /// Refuses to go without TLS to a host that may be anywhere: keys and data would travel readable.
    pub(crate) fn check_plaintext(&self, insecure_plaintext: bool) -> Result<()> {
        if !self.plaintext || insecure_plaintext || is_near(&self.host) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{} would be reached without TLS, but it is not a local or private address",
            self.host
        ))
        .with_hint("drop UseDevelopmentEmulator, use sb://, https:// or wss://, or set insecure_plaintext"))
    }

    fn require_entity(&self) -> Result<&EntityPath> {
        self.entity.as_ref().ok_or_else(|| Error::invalid("the address names no hybrid connection"))
    }

    fn websocket_base(&self) -> String {
        format!("{}://{}", if self.plaintext { "ws" } else { "wss" }, self.authority())
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl FromStr for RelayAddress {
    type Err = Error;

    /// # Errors
    ///
    /// `InvalidArgument` for what is not a URI of one of the schemes, has no host, user information, a query or a fragment, or names a
    /// hybrid connection that cannot exist. The text itself is not repeated: it may hold secrets.
    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Error::invalid("a relay address is written sb://host[:port]/entity"));
        };
        let plaintext = match scheme.to_ascii_lowercase().as_str() {
            "sb" | "https" | "wss" => false,
            "http" | "ws" => true,
            _ => return Err(Error::invalid(format!("the scheme of a relay address is sb, not {scheme:?}"))),
        };
        if rest.contains(['?', '#', '@']) {
            return Err(Error::invalid("a relay address has no user information, query or fragment"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_authority(authority)?;
        let entity = if path.is_empty() { None } else { Some(path.parse()?) };
        Ok(Self { host, port, plaintext, entity })
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plaintext { "http" } else { "sb" };
        write!(f, "{scheme}://{}/", self.authority())?;
        match &self.entity {
            Some(entity) => write!(f, "{entity}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn split_authority(authority: &str) -> Result<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            host.parse::<Ipv6Addr>().map_err(|_| Error::invalid(format!("{host:?} is not an IPv6 address")))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err(Error::invalid("what follows the IPv6 address is not a port")),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(Error::invalid("the relay address has no host"));
    }
    let allowed = |character: char| character.is_alphanumeric() || matches!(character, '.' | '-' | '_' | ':');
    if !host.chars().all(allowed) {
        return Err(Error::invalid(format!("{host:?} is not a host name")));
    }
    let port = match port {
        None | Some("") => None,
        Some(text) => match text.parse() {
            Ok(0) | Err(_) => return Err(Error::invalid(format!("{text:?} is not a port (1 to 65535)"))),
            Ok(port) => Some(port),
        },
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// Loopback, private and link-local addresses, names of one label, and the name under which containers reach their host.
fn is_near(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()
            }
        };
    }
    !host.contains('.') || host == "host.docker.internal" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> RelayAddress {
        text.parse().unwrap()
    }

    #[test]
    fn an_entity_is_compared_without_case_and_keeps_its_spelling() {
        let entity: EntityPath = "/Microsoft.HybridCompute/machines/x-1/N/v2/".parse().unwrap();
        assert_eq!(entity.as_str(), "Microsoft.HybridCompute/machines/x-1/N/v2");
        assert_eq!(entity, "microsoft.hybridcompute/MACHINES/x-1/n/v2".parse::<EntityPath>().unwrap());
        assert_eq!(&entity, "microsoft.hybridcompute/machines/x-1/n/v2");
    }

    #[test]
    fn names_that_cannot_be_are_refused_with_the_reason() {
        for (name, why) in [
            ("", "empty"),
            ("/", "empty"),
            ("a b", "' ' is not allowed"),
            ("a?b", "'?' is not allowed"),
            ("$hc", "'$' is not allowed"),
            ("-a", "begin and end"),
            ("a//b", "empty segment"),
            (&"a".repeat(261), "longer than 260"),
        ] {
            let error = name.parse::<EntityPath>().unwrap_err();
            assert!(error.to_string().contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn addresses_of_all_schemes_are_read() {
        let sb = address("sb://Contoso.example.net/hyco");
        assert_eq!((sb.host(), sb.port(), sb.is_plaintext()), ("contoso.example.net", 443, false));
        assert_eq!(sb.to_string(), "sb://contoso.example.net/hyco");
        let emulator = address("http://localhost:9080");
        assert_eq!((emulator.port(), emulator.is_plaintext(), emulator.entity()), (9080, true, None));
        assert_eq!(address("wss://[::1]:9443/a/b").authority(), "[::1]:9443");
        assert_eq!(address("sb://h/").entity(), None);
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        for text in [
            "hyco",
            "ftp://h/x",
            "sb://",
            "sb:///x",
            "sb://h:0/x",
            "sb://h:x/x",
            "sb://u:p@h/x",
            "sb://h/x?y",
            "sb://[::g]/x",
            "sb://[::1]443/x",
            "sb://h h/x",
        ] {
            assert!(text.parse::<RelayAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn uris_put_the_programs_query_first() {
        let address = address("sb://h:9443/hyco");
        assert_eq!(address.listen_uri("id").unwrap(), "wss://h:9443/$hc/hyco?sb-hc-action=listen&sb-hc-id=id");
        assert_eq!(
            address.connect_uri("or ders/%2F", "?a=b c", "id").unwrap(),
            "wss://h:9443/$hc/hyco/or%20ders/%2F?a=b%20c&sb-hc-action=connect&sb-hc-id=id"
        );
        assert_eq!(
            address.connect_uri("", "", "id").unwrap(),
            "wss://h:9443/$hc/hyco?sb-hc-action=connect&sb-hc-id=id"
        );
        assert!(address.connect_uri("", "a=1&SB-HC-token=x", "id").is_err());
        assert_eq!(address.audience(), "http://h/hyco/");
    }

    #[test]
    fn plaintext_is_for_near_hosts() {
        for near in [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "10.1.2.3",
            "192.168.0.9",
            "relay",
            "host.docker.internal",
            "web.localhost",
            "169.254.1.1",
        ] {
            address(&format!("ws://{near}/x")).check_plaintext(false).unwrap();
        }
        for far in ["relay.example.net", "8.8.8.8"] {
            let far = address(&format!("ws://{far}/x"));
            assert!(far.check_plaintext(false).is_err());
            far.check_plaintext(true).unwrap();
        }
        address("sb://relay.example.net/x").check_plaintext(false).unwrap();
    }
}
