//! `$hc` addresses and their `sb-hc-*` parameters (protocol.md 1.3, 4.1, 4.4, 5.7).

use std::fmt;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::address::EntityPath;

/// The prefix of all names that belong to the relay.
const PREFIX: &str = "sb-hc-";

/// Characters that stay as they are in values the relay adds: nothing that Java's query parser trips over (protocol.md 4.1).
pub(crate) const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest reason of a rejection (protocol.md 10, decision 47).
const REASON_LIMIT: usize = 512;

/// What a WebSocket handshake at the relay asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A listener opens its control channel.
    Listen,
    /// A sender wants a connection.
    Connect,
    /// A listener dials the rendezvous of a connection.
    Accept,
    /// A listener dials the rendezvous of an HTTP request.
    Request,
}

/// Why a request target is refused with 400. The text never repeats the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `sb-hc-action` names no action.
    #[error("the value of sb-hc-action is not known")]
    UnknownAction,
    /// A relay parameter stands twice.
    #[error("the parameter {0} was given twice")]
    Duplicate(&'static str),
}

/// A request target, taken apart.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Whether the first segment is `$hc`.
    pub is_hc: bool,
    /// The path behind it, without its first slash, percent-encoded as received.
    pub path: String,
    /// `sb-hc-action`; `None` if absent, which means connect.
    pub action: Option<Action>,
    /// `sb-hc-id`, decoded.
    pub id: Option<String>,
    /// `sb-hc-token`, decoded. A secret.
    pub token: Option<String>,
    /// `sb-hc-ticket`. A secret.
    pub ticket: Option<String>,
    /// `relay-features`, decoded.
    pub features: Option<String>,
    /// The query without the relay's parameters, as received; `None` if nothing is left.
    pub user_query: Option<String>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("is_hc", &self.is_hc)
            .field("path", &self.path)
            .field("action", &self.action)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Target {
    /// Takes path and query of a request apart.
    ///
    /// # Errors
    ///
    /// An unknown action, or a relay parameter that stands twice (protocol.md 10, decision 11).
    pub fn parse(path_and_query: &str) -> Result<Self, TargetError> {
        let (path, query) = split_query(path_and_query);
        let path = path.strip_prefix('/').unwrap_or(path);
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let is_hc = first.eq_ignore_ascii_case("$hc") || first.eq_ignore_ascii_case("%24hc");
        let mut target = Self { is_hc, path: if is_hc { rest } else { path }.to_owned(), ..Self::default() };
        target.user_query = strip_relay_parameters(query);
        for piece in query.split('&') {
            let Some((name, value)) = piece.split_once('=') else { continue };
            if name.eq_ignore_ascii_case("relay-features") {
                target.features = Some(decode(value));
                continue;
            }
            match name.to_ascii_lowercase().as_str() {
                "sb-hc-action" => {
                    let action = match decode(value).to_ascii_lowercase().as_str() {
                        "listen" => Action::Listen,
                        "connect" => Action::Connect,
                        "accept" => Action::Accept,
                        "request" => Action::Request,
                        _ => return Err(TargetError::UnknownAction),
                    };
                    set(&mut target.action, action, "sb-hc-action")?;
                }
                "sb-hc-id" => set(&mut target.id, decode(value), "sb-hc-id")?,
                "sb-hc-token" => set(&mut target.token, decode(value), "sb-hc-token")?,
                "sb-hc-ticket" => set(&mut target.ticket, decode(value), "sb-hc-ticket")?,
                _ => {}
            }
        }
        Ok(target)
    }

    /// The action, with its default (protocol.md 10, decision 11).
    pub fn action(&self) -> Action {
        self.action.unwrap_or(Action::Connect)
    }
}

fn set<T>(slot: &mut Option<T>, value: T, name: &'static str) -> Result<(), TargetError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TargetError::Duplicate(name)),
    }
}

/// Percent-decodes; a `+` stays a plus, because signatures hold them.
fn decode(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

/// The path of a request target, without its query: safe to show, since the query may hold secrets (protocol.md 10, decision 62). It
/// ends where [`Target::parse`] finds the query, so also before a `?` that was written `%3F`.
pub fn path_of(path_and_query: &str) -> &str {
    split_query(path_and_query).0
}

/// Path and query. Some senders write `%3F` for the `?` in front of the relay's parameters.
fn split_query(path_and_query: &str) -> (&str, &str) {
    if let Some((path, query)) = path_and_query.split_once('?') {
        return (path, query);
    }
    let found = path_and_query.char_indices().map(|(at, _)| at).find(|&at| {
        let rest = &path_and_query.as_bytes()[at..];
        rest.len() > 9 && rest[..3].eq_ignore_ascii_case(b"%3f") && rest[3..9].eq_ignore_ascii_case(PREFIX.as_bytes())
    });
    match found {
        Some(at) => (&path_and_query[..at], &path_and_query[at + 3..]),
        None => (path_and_query, ""),
    }
}

/// The query without the relay's parameters: pieces that have a `=` and a name beginning with `sb-hc-` are removed, everything else
/// stays byte for byte, empty pieces too (protocol.md 5.7). `None` if nothing is left.
pub fn strip_relay_parameters(query: &str) -> Option<String> {
    let is_relays = |piece: &str| {
        piece
            .split_once('=')
            .is_some_and(|(name, _)| name.get(..PREFIX.len()).is_some_and(|name| name.eq_ignore_ascii_case(PREFIX)))
    };
    let kept: Vec<&str> = query.split('&').filter(|piece| !is_relays(piece)).collect();
    let kept = kept.join("&");
    (!kept.is_empty()).then_some(kept)
}

/// Finds the longest entity that is a prefix of a raw path on segment borders (protocol.md 5.7 and 10, decision 38). `lookup` gets
/// candidates percent-decoded, from the longest to the shortest. Returns what it found and the rest of the raw path, which is empty
/// or begins with `/`.
pub fn longest_prefix<T>(raw_path: &str, mut lookup: impl FnMut(&str) -> Option<T>) -> Option<(T, &str)> {
    let mut end = raw_path.len();
    loop {
        let candidate = &raw_path[..end];
        if !candidate.is_empty()
            && !candidate.ends_with('/')
            && let Ok(decoded) = percent_decode_str(candidate).decode_utf8()
            && let Some(found) = lookup(&decoded)
        {
            return Some((found, &raw_path[end..]));
        }
        end = raw_path[..end].rfind('/')?;
    }
}

/// The address of a rendezvous for a connection: the sender's path and query as received, then the relay's parameters. `base` is
/// `ws[s]://authority`.
pub fn accept_address(base: &str, path: &str, user_query: Option<&str>, id: &str, ticket: &str) -> String {
    let (query, and) = user_query.map_or(("", ""), |query| (query, "&"));
    let id = utf8_percent_encode(id, VALUE);
    format!("{base}/$hc/{path}?{query}{and}sb-hc-action=accept&sb-hc-id={id}&sb-hc-ticket={ticket}")
}

/// The address of a rendezvous for a request: free of the sender's suffix and query (protocol.md 5.2).
pub fn request_address(base: &str, entity: &EntityPath, id: &str, ticket: &str) -> String {
    let id = utf8_percent_encode(id, VALUE);
    format!("{base}/$hc/{entity}?sb-hc-action=request&sb-hc-id={id}&sb-hc-ticket={ticket}")
}

/// The address that a listener dials to reject.
pub fn reject_address(address: &str, status: u16, reason: &str) -> String {
    let reason: String = reason.chars().filter(|character| !character.is_control()).take(REASON_LIMIT).collect();
    let reason = utf8_percent_encode(&reason, VALUE);
    format!("{address}&sb-hc-statusCode={status}&sb-hc-statusDescription={reason}")
}

/// A listener's refusal, as it stands behind the address that was issued (protocol.md 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status for the sender, 200 to 999.
    pub status: u16,
    /// The reason phrase for the sender.
    pub reason: String,
    /// Whether the listener's status was usable; if not, the sender gets 400 and the listener 400 too.
    pub is_valid: bool,
}

impl Rejection {
    /// Reads what follows the issued query. `None` if it is no rejection.
    ///
    /// The prefixed names are taken anywhere in it, the unprefixed ones only right behind the issued query: the sender's own query may
    /// hold a `statusCode`.
    pub fn parse(follows: &str) -> Option<Self> {
        let mut status = None;
        let mut reason = None;
        let mut pieces = follows.strip_prefix('&')?.split('&').peekable();
        let unprefixed = pieces.peek().is_some_and(|first| first.starts_with("statusCode="));
        for piece in pieces {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            if name.eq_ignore_ascii_case("sb-hc-statusCode") || (unprefixed && name == "statusCode") {
                status.get_or_insert(value);
            } else if name.eq_ignore_ascii_case("sb-hc-statusDescription") {
                reason.get_or_insert(value);
            } else if unprefixed && let Some(rest) = piece.strip_prefix("statusDescription") {
                reason.get_or_insert(rest.strip_prefix('=').unwrap_or(rest));
            }
        }
        let usable = status?.parse::<u16>().ok().filter(|status| (200..=999).contains(status));
        Some(Self {
            status: usable.unwrap_or(400),
            reason: super::refusal::sanitize_reason(&decode(&reason.unwrap_or_default().replace('+', " "))),
            is_valid: usable.is_some(),
        })
    }
}

/// Path and query of an accept address as a program should see them: the path behind the entity, and the query without the relay's
/// parameters.
pub(crate) fn split_accept_address(address: &str, entity: &EntityPath) -> (String, Option<String>) {
    let path_and_query = address.parse::<Uri>().ok().and_then(|uri| uri.into_parts().path_and_query);
    // An address that cannot be read is not dialled either; the accept fails with the reason.
    let Some(target) = path_and_query.and_then(|target| Target::parse(target.as_str()).ok()) else {
        return (String::new(), None);
    };
    let suffix =
        longest_prefix(&target.path, |candidate| (entity == candidate).then_some(())).map_or("", |((), suffix)| suffix);
    (suffix.to_owned(), target.user_query)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_listen_target_is_taken_apart() {
        let target = Target::parse("/$HC/a/b?sb-hc-action=listen&SB-HC-ID=7&sb-hc-token=S%20sr%3Dx+y").unwrap();
        assert!(target.is_hc);
        assert_eq!((target.path.as_str(), target.action()), ("a/b", Action::Listen));
        assert_eq!((target.id.as_deref(), target.token.as_deref()), (Some("7"), Some("S sr=x+y")));
        assert_eq!(target.user_query, None);
    }

    #[test]
    fn an_absent_action_means_connect_and_an_unknown_one_is_refused() {
        assert_eq!(Target::parse("/%24hc/x").unwrap().action(), Action::Connect);
        assert_eq!(Target::parse("/$hc/x?sb-hc-action=fly"), Err(TargetError::UnknownAction));
        assert_eq!(Target::parse("/$hc/x?sb-hc-id=1&Sb-Hc-Id=2"), Err(TargetError::Duplicate("sb-hc-id")));
    }

    #[test]
    fn an_encoded_question_mark_before_a_relay_parameter_separates_the_query() {
        let target = Target::parse("/$hc/x%3Fsb-hc-action=listen").unwrap();
        assert_eq!((target.path.as_str(), target.action()), ("x", Action::Listen));
        assert_eq!(Target::parse("/$hc/x%3Fa=b").unwrap().path, "x%3Fa=b");
    }

    #[test]
    fn foreign_query_pieces_stay_byte_for_byte() {
        let kept = strip_relay_parameters("x=1&sb-hc-token=abc&&&sb-hc-undefined&");
        assert_eq!(kept.as_deref(), Some("x=1&&&sb-hc-undefined&"));
        assert_eq!(strip_relay_parameters("sb-hc-sas-key=a&SB-HC-X=1"), None);
        assert_eq!(strip_relay_parameters(""), None);
    }

    #[test]
    fn the_longest_entity_wins_on_segment_borders() {
        let registered = ["a", "a/b", "hyco"];
        let find = |path| {
            longest_prefix(path, |candidate| registered.iter().find(|name| candidate.eq_ignore_ascii_case(name)))
        };
        assert_eq!(find("a/b/c"), Some((&"a/b", "/c")));
        assert_eq!(find("a/x"), Some((&"a", "/x")));
        assert_eq!(find("A/%42"), Some((&"a/b", "")));
        assert_eq!(find("hyco/"), Some((&"hyco", "/")));
        assert_eq!(find("hycox"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn an_accept_address_keeps_the_senders_part_and_always_has_a_query() {
        let address = accept_address("wss://n:1", "hyco/a%20b", Some("x=%41&&"), "id_G0", "tick");
        assert_eq!(address, "wss://n:1/$hc/hyco/a%20b?x=%41&&&sb-hc-action=accept&sb-hc-id=id_G0&sb-hc-ticket=tick");
        let entity: EntityPath = "hyco".parse().unwrap();
        assert_eq!(split_accept_address(&address, &entity), ("/a%20b".into(), Some("x=%41&&".into())));
        let plain = accept_address("ws://n", "hyco", None, "id", "t");
        assert_eq!(plain, "ws://n/$hc/hyco?sb-hc-action=accept&sb-hc-id=id&sb-hc-ticket=t");
        assert_eq!(split_accept_address(&plain, &entity), (String::new(), None));
    }

    #[test]
    fn a_rejection_of_either_form_is_read() {
        let expected = Rejection { status: 451, reason: "Not for you".into(), is_valid: true };
        for follows in [
            "&sb-hc-statusCode=451&sb-hc-statusDescription=Not+for+you",
            "&sb-hc-statusDescription=Not%20for%20you&sb-hc-statusCode=451",
            "&statusCode=451&statusDescription=Not%20for%20you",
        ] {
            assert_eq!(Rejection::parse(follows), Some(expected.clone()), "{follows}");
        }
        let bare = Rejection::parse("&statusCode=404&statusDescriptionundefined").unwrap();
        assert_eq!((bare.status, bare.reason.as_str()), (404, "undefined"));
    }

    #[test]
    fn what_is_no_rejection_is_none_and_bad_statuses_become_400() {
        for follows in ["", "&x=1", "&x=1&statusCode=5", "statusCode=451"] {
            assert_eq!(Rejection::parse(follows), None, "{follows}");
        }
        for status in ["101", "199", "1000", "abc", "-1"] {
            let rejection = Rejection::parse(&format!("&sb-hc-statusCode={status}")).unwrap();
            assert_eq!((rejection.status, rejection.is_valid), (400, false));
        }
    }

    #[test]
    fn what_a_listener_writes_is_what_a_relay_reads() {
        let issued = "wss://n/$hc/x?sb-hc-id=1";
        let address = reject_address(issued, 403, "né + go\r\naway=&");
        let read = Rejection::parse(address.strip_prefix(issued).unwrap()).unwrap();
        assert_eq!((read.status, read.reason.as_str()), (403, "n%C3%A9 + goaway=&"));
    }

    proptest! {
        #[test]
        fn nothing_a_peer_sends_panics(text: String, ascii in "[%a-fA-F0-9/?&=$-]{0,60}") {
            for text in [text, ascii] {
                let _ = Target::parse(&text);
                let _ = Rejection::parse(&text);
                let _ = longest_prefix(&text, |_| None::<()>);
                let _ = strip_relay_parameters(&text);
            }
        }
    }
}
