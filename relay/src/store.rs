//! Where namespaces, entities, rules and keys come from: a snapshot and a stream of changes.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use hybridrelay::EntityPath;
use tokio::sync::watch;

use crate::namespace::{Entity, Namespace};

/// Everything that a store knows at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The namespaces, in the order of the configuration.
    pub namespaces: Vec<Namespace>,
}

impl Snapshot {
    /// The namespace that `host` (without port) leads to: the one that names it, else the one that takes any.
    pub fn namespace_for_host(&self, host: &str) -> Option<&Namespace> {
        let named = self.namespaces.iter().find(|namespace| namespace.names_host(host));
        named.or_else(|| self.namespaces.iter().find(|namespace| namespace.takes_any_host()))
    }

    /// The namespace and the path of the hybrid connection that `host` (without port) stands for by itself.
    pub fn entity_for_host<'a>(&'a self, host: &'a str) -> Option<(&'a Namespace, &'a str)> {
        let own = self.namespaces.iter().find_map(|namespace| Some((namespace, namespace.entity_of_host(host)?)));
        let by_label =
            || self.namespaces.iter().find_map(|namespace| Some((namespace, namespace.label_of_host(host)?)));
        own.or_else(by_label)
    }

    /// The namespace with this name.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }
}

/// A source of namespaces. A change reaches living control channels through [`changes`](Store::changes).
pub trait Store: Send + Sync + 'static {
    /// The present state.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// The present state and every later one; a slow reader sees the newest.
    fn changes(&self) -> watch::Receiver<Arc<Snapshot>>;

    /// Makes the hybrid connection that an authorised listener asked for, if the namespace's policy allows it, and returns
    /// it; it is made `now`. `None`: there is no such policy.
    fn create_on_listen(&self, namespace: &str, path: EntityPath, now: SystemTime) -> Option<Entity>;
}

/// A store in memory that the embedding program edits.
#[derive(Clone)]
pub struct MemoryStore(Arc<watch::Sender<Arc<Snapshot>>>);

impl MemoryStore {
    /// A store with these namespaces.
    pub fn new(namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        let snapshot = Snapshot { namespaces: namespaces.into_iter().collect() };
        Self(Arc::new(watch::Sender::new(Arc::new(snapshot))))
    }

    /// Changes a namespace in place; whether there is one of that name.
    pub fn edit(&self, namespace: &str, change: impl FnOnce(&mut Namespace)) -> bool {
        self.0.send_if_modified(|current| {
            let snapshot = Arc::make_mut(current);
            let found = snapshot.namespaces.iter_mut().find(|candidate| candidate.name == namespace);
            found.map(change).is_some()
        })
    }

    /// Adds or replaces a hybrid connection; whether there is a namespace of that name.
    pub fn put_entity(&self, namespace: &str, entity: Entity) -> bool {
        self.edit(namespace, |namespace| namespace.insert(entity))
    }

    /// Removes a hybrid connection: its channels close with 1001; whether it was there.
    pub fn delete_entity(&self, namespace: &str, path: &str) -> bool {
        let mut removed = false;
        self.edit(namespace, |namespace| removed = namespace.remove(path));
        removed
    }

    /// Replaces the whole state.
    pub fn replace(&self, namespaces: impl IntoIterator<Item = Namespace>) {
        self.0.send_replace(Arc::new(Snapshot { namespaces: namespaces.into_iter().collect() }));
    }

    /// Replaces the whole state by what is made of the present one, with no change in between.
    pub fn replace_with(&self, make: impl FnOnce(&Snapshot) -> Vec<Namespace>) {
        self.0.send_modify(|current| *current = Arc::new(Snapshot { namespaces: make(current) }));
    }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.0.borrow().clone()
    }

    fn changes(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.subscribe()
    }

    fn create_on_listen(&self, namespace: &str, path: EntityPath, now: SystemTime) -> Option<Entity> {
        let mut created = None;
        self.0.send_if_modified(|current| {
            let known = current.namespace(namespace);
            // Two listeners may race for the first listen: the second finds what the first made.
            if let Some(existing) = known.and_then(|namespace| namespace.entity(path.as_str())) {
                created = Some(existing.clone());
                return false;
            }
            let Some(policy) = known.and_then(|namespace| {
                let policy = namespace.auto_create.as_ref()?;
                policy.allows_another(namespace.entities().count()).then_some(policy)
            }) else {
                return false;
            };
            let entity = policy.entity(path, now);
            created = Some(entity.clone());
            let snapshot = Arc::make_mut(current);
            let found = snapshot.namespaces.iter_mut().find(|candidate| candidate.name == namespace);
            found.map(|namespace| namespace.insert(entity)).is_some()
        });
        created
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryStore").field(&*self.0.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{AutoCreate, Distribution};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn path(text: &str) -> EntityPath {
        text.parse().expect("a valid path")
    }

    #[test]
    fn a_host_that_is_named_wins_over_any_host() {
        let snapshot =
            MemoryStore::new([Namespace::new("any"), Namespace::new("b").with_hosts(["b.example"])]).snapshot();
        assert_eq!(snapshot.namespace_for_host("B.example").map(|n| n.name.as_str()), Some("b"));
        assert_eq!(snapshot.namespace_for_host("c.example").map(|n| n.name.as_str()), Some("any"));
    }

    #[test]
    fn a_change_reaches_readers_and_leaves_old_snapshots_alone() {
        let store = MemoryStore::new([Namespace::new("n").with_entity(Entity::new(path("hyco")))]);
        let before = store.snapshot();
        let mut changes = store.changes();
        assert!(store.delete_entity("n", "HYCO"));
        assert!(changes.has_changed().expect("the store is there"));
        assert!(changes.borrow_and_update().namespace("n").is_some_and(|n| n.entity("hyco").is_none()));
        assert!(before.namespace("n").is_some_and(|n| n.entity("hyco").is_some()));
        assert!(!store.delete_entity("n", "hyco"));
    }

    #[test]
    fn a_first_listen_creates_once_and_only_with_a_policy() {
        let strict = MemoryStore::new([Namespace::new("n")]);
        assert!(strict.create_on_listen("n", path("hyco"), NOW).is_none());

        let policy = AutoCreate { public: vec!["pub*".to_owned()], limit: 2, ..AutoCreate::default() };
        let store = MemoryStore::new([Namespace::new("n").with_auto_create(policy)]);
        let first = store.create_on_listen("n", path("Hyco"), NOW).expect("allowed");
        assert!(first.requires_client_authorization);
        let again = store.create_on_listen("n", path("hyco"), NOW).expect("there already");
        assert_eq!(again.path.as_str(), "Hyco");
        assert!(!store.create_on_listen("n", path("public"), NOW).expect("allowed").requires_client_authorization);
        assert!(store.create_on_listen("n", path("third"), NOW).is_none());
    }

    #[test]
    fn a_first_listen_creates_for_events_what_the_policy_says_is_for_events() {
        let policy = AutoCreate { events: vec!["events/*".to_owned()], ..AutoCreate::default() };
        let store = MemoryStore::new([Namespace::new("n").with_auto_create(policy)]);
        let distribution = |name| store.create_on_listen("n", path(name), NOW).expect("allowed").settings.distribution;
        assert!(matches!(distribution("Events/doors"), Distribution::All(_)));
        assert_eq!(distribution("hyco"), Distribution::One);
    }
}
