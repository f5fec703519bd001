//! How many at once: one table of places by what is counted and who is, each free again when its permit is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use smallvec::SmallVec;
use tokio::sync::{Notify, Semaphore};

use super::Scope;
use crate::config::{Limits, LiveConfig};
use crate::node::lock;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    /// An accepted socket.
    Socket,
    /// One that has not been authorised for anything.
    Unauthenticated,
    /// One whose first request is not yet admitted or refused.
    Handshake,
    /// A listener that is online.
    Listener,
    /// A listener that is about to be refused, and waits to be told.
    HeldRefusal,
    /// A sender that waits for a listener's dial (protocol.md 10, decision 59).
    Waiting,
    /// A relayed connection, from its admission on.
    Connection,
    /// A relayed HTTP request, from its admission to the end of the response.
    Request,
}

/// The places of one relay. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Quotas {
    config: LiveConfig,
    table: Arc<Table>,
}

type Place = (Resource, Scope);

#[derive(Debug, Default)]
struct Table {
    /// Those that are in use; nobody's place is remembered.
    seats: Mutex<BTreeMap<Place, Seats>>,
    socket_freed: Notify,
}

/// As many places as a limit allows, and while it was higher a moment ago, those that are still taken.
#[derive(Debug)]
struct Seats {
    places: Arc<Places>,
    most: usize,
    /// How many of those that are taken go away instead of becoming free.
    too_many: usize,
}

/// All places of one resource with one of those who are charged.
#[derive(Debug)]
struct Places {
    of: Place,
    free: Semaphore,
}

/// Places taken, until dropped.
///
/// Every relayed connection holds three of these for life: so each is a pointer for whoever is charged, of whom there are at most
/// four.
#[derive(Debug, Default)]
pub(crate) struct Permit {
    table: Arc<Table>,
    taken: SmallVec<[Arc<Places>; 4]>,
}

/// Somebody who is about to take a place, or waits for one. Dropping leaves nothing behind.
struct Claim<'a> {
    table: &'a Table,
    places: Option<Arc<Places>>,
}

/// A limit that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// The name of the limit in the configuration.
    pub(crate) limit: &'static str,
    pub(crate) text: String,
}

impl Quotas {
    pub(crate) fn new(config: LiveConfig) -> Self {
        Self { config, table: Arc::default() }
    }

    /// A place with everybody who is charged, unless one of them has none left. Who has no limit is not counted.
    pub(crate) fn take(&self, resource: Resource, scopes: impl IntoIterator<Item = Scope>) -> Result<Permit, Exceeded> {
        let mut permit = Permit { table: self.table.clone(), taken: SmallVec::new() };
        for scope in scopes {
            let Some((limit, most)) = most(&self.config.current().limits, resource, &scope) else { continue };
            let claim = self.table.claim((resource, scope), most);
            match claim.places().free.try_acquire() {
                Ok(place) => place.forget(),
                Err(_) => {
                    let text =
                        format!("The {} has as many {} as it may have", claim.places().of.1, resource.describe());
                    return Err(Exceeded { limit, text });
                }
            }
            permit.taken.push(claim.keep());
        }
        Ok(permit)
    }

    /// Waits for a place with everybody who is charged, one after the other, each in the order of arrival.
    pub(crate) async fn wait(&self, resource: Resource, scopes: impl IntoIterator<Item = Scope>) -> Permit {
        let mut permit = Permit { table: self.table.clone(), taken: SmallVec::new() };
        for scope in scopes {
            let Some((_, most)) = most(&self.config.current().limits, resource, &scope) else { continue };
            let claim = self.table.claim((resource, scope), most);
            // Never closed, so this cannot fail.
            let Ok(place) = claim.places().free.acquire().await else { continue };
            place.forget();
            permit.taken.push(claim.keep());
        }
        permit
    }

    /// Completes when a socket has been given back after this call.
    pub(crate) fn socket_freed(&self) -> impl Future<Output = ()> + '_ {
        self.table.socket_freed.notified()
    }

    /// How many are in use at the relay as a whole.
    pub(crate) fn in_use(&self, resource: Resource) -> usize {
        lock(&self.table.seats).get(&(resource, Scope::Relay)).map_or(0, Seats::taken)
    }

    /// How many are counted, with whomever.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.table.seats).len()
    }
}

impl Table {
    fn claim(&self, of: Place, most: usize) -> Claim<'_> {
        let most = bounded(most);
        let mut table = lock(&self.seats);
        let places = match table.get_mut(&of) {
            Some(seats) => {
                seats.resize(most);
                seats.places.clone()
            }
            None => table.entry(of.clone()).or_insert(Seats::new(of, most)).places.clone(),
        };
        Claim { table: self, places: Some(places) }
    }

    /// Lets go of places, of which one was taken or none, and forgets them if nobody has one and nobody waits for one.
    fn let_go(&self, places: Arc<Places>, taken: bool) {
        let mut table = lock(&self.seats);
        if taken && let Some(seats) = table.get_mut(&places.of) {
            seats.give_back();
        }
        // Whoever has one or waits for one holds a pointer, and gets and gives it up under this lock. One is ours, one the table's.
        if Arc::strong_count(&places) == 2 {
            table.remove(&places.of);
        }
        drop(places);
    }
}

impl Seats {
    fn new(of: Place, most: usize) -> Self {
        Self { places: Arc::new(Places { of, free: Semaphore::new(most) }), most, too_many: 0 }
    }

    fn taken(&self) -> usize {
        self.most + self.too_many - self.places.free.available_permits()
    }

    fn give_back(&mut self) {
        if self.too_many > 0 {
            self.too_many -= 1;
        } else {
            self.places.free.add_permits(1);
        }
    }

    /// Follows a limit that was changed.
    fn resize(&mut self, most: usize) {
        if most > self.most {
            let more = most - self.most;
            let kept = more.min(self.too_many);
            self.too_many -= kept;
            self.places.free.add_permits(more - kept);
        } else {
            let fewer = self.most - most;
            self.too_many += fewer - self.places.free.forget_permits(fewer);
        }
        self.most = most;
    }
}

impl Claim<'_> {
    fn places(&self) -> &Places {
        self.places.as_ref().expect("they are there until the claim is kept or dropped")
    }

    /// One of the places was taken.
    fn keep(mut self) -> Arc<Places> {
        self.places.take().expect("they are there until the claim is kept or dropped")
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(places) = self.places.take() {
            self.table.let_go(places, false);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        for places in self.taken.drain(..) {
            let is_socket = places.of.0 == Resource::Socket;
            self.table.let_go(places, true);
            if is_socket {
                self.table.socket_freed.notify_waiters();
            }
        }
    }
}

impl Resource {
    fn describe(self) -> &'static str {
        match self {
            Self::Socket => "sockets",
            Self::Unauthenticated => "sockets without authorization",
            Self::Handshake => "handshakes",
            Self::Listener => "listeners",
            Self::HeldRefusal => "listeners that wait to be refused",
            Self::Waiting => "senders that wait for a listener",
            Self::Connection => "connections",
            Self::Request => "requests in flight",
        }
    }
}

/// The limit for one resource and one scope, with its name. Listeners per hybrid connection are counted by the directory, which may
/// know other nodes.
fn most(limits: &Limits, resource: Resource, scope: &Scope) -> Option<(&'static str, usize)> {
    Some(match (resource, scope) {
        (Resource::Socket, Scope::Relay) => ("sockets", limits.sockets),
        (Resource::Unauthenticated, Scope::Relay) => ("unauthenticated", limits.unauthenticated),
        (Resource::Unauthenticated, Scope::Address(_)) => {
            ("unauthenticated_per_address", limits.unauthenticated_per_address)
        }
        (Resource::Handshake, Scope::Relay) => ("handshakes", limits.handshakes),
        (Resource::Handshake, Scope::Address(_)) => ("handshakes_per_address", limits.handshakes_per_address),
        (Resource::Listener, Scope::Namespace(_)) => ("listeners_per_namespace", limits.listeners_per_namespace),
        (Resource::Listener, Scope::Key(_)) => ("listeners_per_key", limits.listeners_per_key),
        (Resource::Listener, Scope::Address(_)) => ("listeners_per_address", limits.listeners_per_address),
        (Resource::HeldRefusal, Scope::Address(_)) => ("held_refusals_per_address", limits.held_refusals_per_address),
        (Resource::Waiting, Scope::Entity(_)) => ("waiting_per_entity", limits.waiting_per_entity),
        (Resource::Waiting, Scope::Address(_)) => ("waiting_per_address", limits.waiting_per_address),
        (Resource::Connection, Scope::Namespace(_)) => ("connections_per_namespace", limits.connections_per_namespace),
        (Resource::Connection, Scope::Entity(_)) => ("connections_per_entity", limits.connections_per_entity),
        (Resource::Connection, Scope::Key(_)) => ("connections_per_key", limits.connections_per_key),
        (Resource::Connection, Scope::Address(_)) => ("connections_per_address", limits.connections_per_address),
        (Resource::Request, Scope::Entity(_)) => ("requests_per_entity", limits.requests_per_entity),
        (Resource::Request, Scope::Listener(_)) => ("requests_per_listener", limits.requests_per_listener),
        _ => return None,
    })
}

fn bounded(most: usize) -> usize {
    most.min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt;

    use super::super::AddressBlock;
    use super::*;
    use crate::config::Config;

    fn quotas(edit: impl FnOnce(&mut Limits)) -> Quotas {
        let mut config = Config::default();
        edit(&mut config.limits);
        Quotas::new(LiveConfig::new(config))
    }

    fn address(last: u8) -> Scope {
        Scope::Address(AddressBlock::from(IpAddr::from([192, 0, 2, last])))
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let quotas = quotas(|limits| limits.listeners_per_address = 2);
        let take = || quotas.take(Resource::Listener, [address(1)]);
        let first = take().ok();
        let _second = take().expect("room for two");
        let exceeded = take().expect_err("no third");
        assert_eq!(exceeded.limit, "listeners_per_address");
        assert_eq!(exceeded.text, "The address has as many listeners as it may have");
        assert!(quotas.take(Resource::Listener, [address(2)]).is_ok(), "another address is not concerned");
        drop(first);
        assert!(take().is_ok());
    }

    #[test]
    fn whoever_refuses_leaves_nothing_taken_from_the_others() {
        let quotas = quotas(|limits| limits.unauthenticated_per_address = 0);
        assert!(quotas.take(Resource::Unauthenticated, [Scope::Relay, address(1)]).is_err());
        assert_eq!(quotas.in_use(Resource::Unauthenticated), 0);
    }

    #[test]
    fn nothing_is_remembered_of_those_who_have_gone() {
        let quotas = quotas(|limits| limits.waiting_per_address = 1);
        for last in 0..=255 {
            let permit = quotas.take(Resource::Waiting, [address(last)]).expect("room");
            assert!(quotas.take(Resource::Waiting, [address(last)]).is_err());
            drop(permit);
        }
        assert_eq!(quotas.len(), 0);
    }

    #[tokio::test]
    async fn nothing_is_remembered_of_those_who_have_given_up_waiting() {
        let quotas = quotas(|limits| limits.handshakes = 1);
        let held = quotas.wait(Resource::Handshake, [Scope::Relay]).await;
        let mut waiting = Box::pin(quotas.wait(Resource::Handshake, [Scope::Relay]));
        assert!((&mut waiting).now_or_never().is_none());
        // The place is the next one's before that one knows, and it goes without knowing.
        drop(held);
        drop(waiting);
        assert_eq!(quotas.len(), 0);
    }

    #[test]
    fn a_limit_that_is_changed_holds_for_whoever_comes_then() {
        let quotas = quotas(|limits| limits.listeners_per_address = 3);
        let set = |most| {
            let mut config = Config::default();
            config.limits.listeners_per_address = most;
            quotas.config.replace(config);
        };
        let take = || quotas.take(Resource::Listener, [address(1)]);
        let mut taken: Vec<_> = (0..3).map(|_| take().expect("room for three")).collect();
        set(1);
        assert!(take().is_err(), "three have places, and one may");
        taken.truncate(1);
        assert!(take().is_err(), "the places that are given back are gone");
        set(2);
        taken.push(take().expect("room for two"));
        assert!(take().is_err(), "and not for three");
        set(0);
        assert!(take().is_err());
        set(4);
        taken.push(take().expect("room for four"));
        taken.push(take().expect("room for four"));
        assert!(take().is_err(), "and not for five");
        taken.clear();
        assert_eq!(quotas.len(), 0);
    }

    #[test]
    fn no_limit_is_too_large() {
        let quotas = quotas(|limits| limits.sockets = usize::MAX);
        let _permit = quotas.take(Resource::Socket, [Scope::Relay]).expect("room");
        assert_eq!(quotas.in_use(Resource::Socket), 1);
    }

    #[tokio::test]
    async fn those_who_wait_get_their_places_in_order() {
        let quotas = quotas(|limits| limits.handshakes = 1);
        let scopes = || [address(1), Scope::Relay];
        let held = quotas.wait(Resource::Handshake, scopes()).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..5)
            .map(|n| {
                let (quotas, order) = (quotas.clone(), order.clone());
                async move {
                    let _permit = quotas.wait(Resource::Handshake, scopes()).await;
                    lock(&order).push(n);
                }
            })
            .collect();
        let release = async { drop(held) };
        tokio::join!(futures_util::future::join_all(waiting), release);
        assert_eq!(*lock(&order), [0, 1, 2, 3, 4]);
        assert_eq!(quotas.len(), 0);
    }
}
