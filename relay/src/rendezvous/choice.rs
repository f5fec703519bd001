//! Which of several listeners is asked (protocol.md 3.3 and 10, decisions 17, 18 and 67).

use std::time::SystemTime;

use hybridrelay::protocol::headers::ListenerFilter;

use crate::directory::{EntityKey, ListenerId, ListenerRecord, Occupied};
use crate::edge::Visit;
use crate::limits::AddressBlock;
use crate::namespace::{Choice, StickyBy};
use crate::node::Node;
use crate::refusal::Refusal;

/// How many characters of a listener's own id stay the same when it comes back: those of a GUID.
const OWN_ID: usize = 36;

/// Who of the listeners is to be asked for one sender.
pub(crate) struct Preference {
    filter: ListenerFilter,
    by: By,
}

enum By {
    Chance,
    Load,
    /// What all have in common who get the same listener.
    Key(Vec<u8>),
}

impl Preference {
    /// What the hybrid connection and the sender want.
    pub(crate) fn of(visit: &Visit, choice: &Choice) -> Self {
        let by = match choice {
            Choice::Random => By::Chance,
            Choice::LeastBusy => By::Load,
            Choice::Sticky(by) => key(visit, by).map_or(By::Chance, By::Key),
        };
        Self { filter: ListenerFilter::from_headers(visit.request.headers()), by }
    }
}

/// What a sender has in common with others.
fn key(visit: &Visit, by: &StickyBy) -> Option<Vec<u8>> {
    match by {
        StickyBy::Address => visit.client.map(AddressBlock::octets),
        StickyBy::Header(name) => visit.request.headers().get(name).map(|value| value.as_bytes().to_vec()),
        StickyBy::Query(name) => {
            value_of(visit.target.user_query.as_deref()?, name).map(|value| value.as_bytes().to_vec())
        }
    }
}

/// The first value of a query parameter, as it is written.
fn value_of<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|piece| piece.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Whether there is a listener that may be asked.
pub(crate) fn check(node: &Node, key: &EntityKey, preference: &Preference) -> Result<(), Refusal> {
    allowed(node, key, preference, &[]).map(drop)
}

/// A listener that is to be asked, and its being busy from now on; `None` if all have been asked.
pub(crate) fn choose(
    node: &Node,
    key: &EntityKey,
    preference: &Preference,
    tried: &[ListenerId],
) -> Result<Option<(ListenerRecord, Occupied)>, Refusal> {
    let mut allowed = allowed(node, key, preference, tried)?;
    match &preference.by {
        By::Chance => {}
        By::Load => {
            let least = allowed.iter().map(|listener| listener.in_flight).min();
            allowed.retain(|listener| Some(listener.in_flight) == least);
        }
        By::Key(key) => {
            let first = allowed.iter().max_by_key(|listener| rank(key, listener)).map(|listener| listener.id);
            allowed.retain(|listener| Some(listener.id) == first);
        }
    }
    if allowed.is_empty() {
        return Ok(None);
    }
    let chosen = allowed.swap_remove(node.env.random_below(allowed.len()));
    let occupied = node.directory.occupy(chosen.id);
    Ok(Some((chosen, occupied)))
}

/// Those who may be asked and were not yet.
fn allowed(
    node: &Node,
    key: &EntityKey,
    preference: &Preference,
    tried: &[ListenerId],
) -> Result<Vec<ListenerRecord>, Refusal> {
    let mut listeners = node.directory.listeners(key);
    if listeners.is_empty() && tried.is_empty() {
        return Err(Refusal::no_listeners());
    }
    listeners.retain(|listener| preference.filter.allows(&listener.tracking_id));
    if listeners.is_empty() && tried.is_empty() {
        return Err(Refusal::no_allowed_listener());
    }
    listeners.retain(|listener| !tried.contains(&listener.id));
    Ok(listeners)
}

/// Where a listener stands among the others for a key: one that comes or goes moves only those keys for which it stands first. Of
/// several with the same id the one that came last stands first, since the others may be what is left of it.
fn rank(key: &[u8], listener: &ListenerRecord) -> (u64, SystemTime, ListenerId) {
    (weight(key, &listener.tracking_id), listener.since, listener.id)
}

/// The weight of a listener's own id for a key, the same on every node: FNV-1a, and the finish of SplitMix64, which spreads what
/// the last bytes have changed.
fn weight(key: &[u8], listener_id: &str) -> u64 {
    let id = listener_id.bytes().take(OWN_ID).map(|byte| byte.to_ascii_lowercase());
    // The length keeps key and id apart.
    let bytes = (key.len() as u64).to_le_bytes().into_iter().chain(key.iter().copied()).chain(id);
    let hash =
        bytes.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let hash = (hash ^ hash >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: usize = 10_000;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("0b7f5c1e-6c1b-4b0e-9a55-{number:012}_G0")).collect()
    }

    /// Which of the ids each key gets.
    fn chosen(ids: &[String]) -> Vec<&str> {
        let first = |key: usize| ids.iter().max_by_key(|id| weight(key.to_string().as_bytes(), id)).expect("one");
        (0..KEYS).map(|key| first(key).as_str()).collect()
    }

    #[test]
    fn keys_are_spread_evenly() {
        let ids = ids(8);
        let chosen = chosen(&ids);
        for id in &ids {
            let share = chosen.iter().filter(|chosen| *chosen == id).count();
            // An eighth, give or take five standard deviations.
            assert!((1_085..=1_415).contains(&share), "{share} for {id}");
        }
    }

    #[test]
    fn a_listener_that_goes_moves_only_its_own_keys() {
        let all = ids(5);
        let (gone, rest) = all.split_last().expect("five");
        for (before, after) in chosen(&all).into_iter().zip(chosen(rest)) {
            assert!(before == after || before == gone, "a key of {before} moved to {after}");
        }
    }

    #[test]
    fn a_listener_that_comes_back_gets_its_keys_again() {
        let key = b"198.51.100.7";
        let before = weight(key, "0b7f5c1e-6c1b-4b0e-9a55-1f1f6f6f7d10_G0");
        assert_eq!(weight(key, "0B7F5C1E-6c1b-4b0e-9a55-1f1f6f6f7d10_G17_G30"), before);
        assert_ne!(weight(b"198.51.100.8", "0b7f5c1e-6c1b-4b0e-9a55-1f1f6f6f7d10_G0"), before);
    }

    #[test]
    fn a_query_parameter_is_taken_as_it_is_written() {
        for (query, value) in [
            ("user=7", Some("7")),
            ("x=1&user=a%20b&user=c", Some("a%20b")),
            ("user=", Some("")),
            ("user", None),
            ("User=7&xuser=7", None),
            ("", None),
        ] {
            assert_eq!(value_of(query, "user"), value, "{query}");
        }
    }
}
