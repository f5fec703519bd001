//! The directory of a single node: everything in this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hybridrelay::env::{BoxFuture, Env};
use tokio::sync::{Semaphore, mpsc, watch};

use super::{
    DeliverError, Delivery, Directory, EntityChange, EntityKey, Following, Inbound, Lease, ListenerChange, ListenerId,
    ListenerRecord, Logs, Occupied, Online, Position, Presence, RegisterError, Replies,
};
use crate::config::LiveConfig;

/// Listeners of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Embedded {
    env: Env,
    config: LiveConfig,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    entities: BTreeMap<EntityKey, Period>,
    listeners: BTreeMap<ListenerId, Listener>,
    watchers: BTreeMap<EntityKey, watch::Sender<usize>>,
    logs: Logs<EntityKey, ListenerChange>,
    entity_logs: Logs<Arc<str>, EntityChange>,
}

/// The time in which an entity has listeners without interruption.
struct Period {
    since: SystemTime,
    /// In the order in which they came.
    listeners: Vec<ListenerId>,
}

struct Listener {
    record: Arc<ListenerRecord>,
    inbox: mpsc::Sender<Inbound>,
    room: Arc<Semaphore>,
    /// How many bytes there is room for.
    queued_bytes: usize,
    disconnect: watch::Sender<bool>,
    life: Arc<Life>,
}

/// The part of a record that changes while the listener is online.
struct Life {
    in_flight: Arc<AtomicUsize>,
    /// Milliseconds after the record's first `last_byte`.
    heard: AtomicU64,
}

impl Embedded {
    pub(crate) fn new(env: Env, config: LiveConfig) -> Self {
        Self { env, config, table: Arc::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it holds the lock; a poisoned table would still be whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> u64 {
        u64::from_le_bytes(self.env.random())
    }
}

impl Table {
    fn count(&self, entity: &EntityKey) -> usize {
        self.entities.get(entity).map_or(0, |period| period.listeners.len())
    }

    /// Tells of a listener that came, or that went.
    fn announce(&mut self, entity: &EntityKey, at: SystemTime, id: ListenerId, came: Option<Arc<ListenerRecord>>) {
        let count = self.count(entity);
        let online = came.is_some();
        let since = self.entities.get(entity).map(|period| period.since);
        self.logs.push(entity, || ListenerChange { at, id, came, count, since });
        if count == usize::from(online) {
            let namespace = entity.shared_namespace();
            self.entity_logs.push(&namespace, || EntityChange { at, entity: entity.clone(), online });
        }
        if let Some(watcher) = self.watchers.get(entity) {
            watcher.send_replace(count);
            if watcher.receiver_count() == 0 {
                self.watchers.remove(entity);
            }
        }
    }

    fn online(&self, entity: &EntityKey) -> Online {
        let Some(period) = self.entities.get(entity) else { return Online::default() };
        let listeners = period.listeners.iter().filter_map(|id| self.listeners.get(id));
        Online { since: Some(period.since), listeners: listeners.map(Listener::current).collect() }
    }

    fn entities(&self, namespace: &str) -> Vec<(EntityKey, SystemTime)> {
        let all = self.entities.range(EntityKey::new(namespace, "")..);
        let own = all.take_while(|(entity, _)| entity.namespace() == namespace);
        own.map(|(entity, period)| (entity.clone(), period.since)).collect()
    }
}

impl Directory for Embedded {
    fn register(&self, mut record: ListenerRecord, most: usize) -> Result<Lease, RegisterError> {
        let limits = &self.config.current().limits;
        let (inbox_tx, inbox) = mpsc::channel(limits.queued_deliveries.max(1));
        let queued_bytes = limits.queued_bytes.min(Semaphore::MAX_PERMITS);
        let (disconnect, disconnected) = watch::channel(false);
        let life = Arc::new(Life { in_flight: Arc::default(), heard: AtomicU64::new(0) });
        let (id, entity, since) = (record.id, record.entity.clone(), record.last_byte);

        let mut table = self.table();
        if table.count(&entity) >= most {
            return Err(RegisterError::TooMany);
        }
        // Under the lock, so that the times follow the order of the changes.
        let now = self.env.wall_clock();
        record.since = now;
        let record = Arc::new(record);
        let period = table.entities.entry(entity.clone()).or_insert(Period { since: now, listeners: Vec::new() });
        period.listeners.push(id);
        let room = Arc::new(Semaphore::new(queued_bytes));
        let listener =
            Listener { record: record.clone(), inbox: inbox_tx, room, queued_bytes, disconnect, life: life.clone() };
        table.listeners.insert(id, listener);
        table.announce(&entity, now, id, Some(record));
        drop(table);

        let presence = Arc::new(Registration { directory: self.clone(), id, entity, since, life });
        Ok(Lease { inbox, disconnected, presence })
    }

    fn listeners(&self, entity: &EntityKey) -> Vec<ListenerRecord> {
        self.table().online(entity).listeners
    }

    fn listener_ids(&self, entity: &EntityKey) -> Vec<ListenerId> {
        self.table().entities.get(entity).map(|period| period.listeners.clone()).unwrap_or_default()
    }

    fn listener(&self, id: ListenerId) -> Option<ListenerRecord> {
        self.table().listeners.get(&id).map(Listener::current)
    }

    fn watch(&self, entity: &EntityKey) -> watch::Receiver<usize> {
        let mut table = self.table();
        let count = table.count(entity);
        table.watchers.entry(entity.clone()).or_insert_with(|| watch::Sender::new(count)).subscribe()
    }

    fn occupy(&self, listener: ListenerId) -> Occupied {
        let in_flight = self.table().listeners.get(&listener).map(|listener| listener.life.in_flight.clone());
        // One that has just gone cannot be given anything.
        Occupied::new(in_flight.unwrap_or_default())
    }

    fn online(&self, entity: &EntityKey) -> Online {
        self.table().online(entity)
    }

    fn presence(&self, entity: &EntityKey, after: Option<Position>) -> Following<Online, ListenerChange> {
        let mut table = self.table();
        let log = table.logs.log(entity, || self.random());
        match after.and_then(|after| log.reader_at(after)) {
            Some(changes) => Following { present: None, changes },
            None => Following { present: Some(table.online(entity)), changes: log.reader() },
        }
    }

    fn entities(&self, namespace: &str) -> Vec<(EntityKey, SystemTime)> {
        self.table().entities(namespace)
    }

    fn follow_entities(
        &self,
        namespace: &str,
        after: Option<Position>,
    ) -> Following<Vec<(EntityKey, SystemTime)>, EntityChange> {
        let mut table = self.table();
        let log = table.entity_logs.log(&namespace.into(), || self.random());
        match after.and_then(|after| log.reader_at(after)) {
            Some(changes) => Following { present: None, changes },
            None => Following { present: Some(table.entities(namespace)), changes: log.reader() },
        }
    }

    fn deliver(&self, listener: ListenerId, delivery: Delivery) -> BoxFuture<Result<Replies, DeliverError>> {
        let found = self.table().listeners.get(&listener).map(|l| (l.inbox.clone(), l.room.clone(), l.queued_bytes));
        let (env, limit) = (self.env.clone(), self.config.current().timings.queue_full);
        Box::pin(async move {
            let (inbox, room, most) = found.ok_or(DeliverError::Gone)?;
            let (reply_to, stream) = Replies::channel(delivery.one_way);
            let bytes = u32::try_from(delivery.bytes().min(most)).unwrap_or(u32::MAX);
            let queued = async {
                // The semaphore is never closed; a listener that goes away closes its inbox.
                let room = room.acquire_many_owned(bytes).await.map_err(|_| DeliverError::Gone)?;
                inbox.send(Inbound { delivery, reply_to, room }).await.map_err(|_| DeliverError::Gone)
            };
            env.timeout(limit, queued).await.unwrap_or(Err(DeliverError::Busy))?;
            Ok(stream)
        })
    }

    fn disconnect(&self, listener: ListenerId) {
        if let Some(listener) = self.table().listeners.get(&listener) {
            listener.disconnect.send_replace(true);
        }
    }
}

impl Listener {
    fn current(&self) -> ListenerRecord {
        let mut record = ListenerRecord::clone(&self.record);
        record.in_flight = self.life.in_flight.load(Ordering::Relaxed);
        record.last_byte += Duration::from_millis(self.life.heard.load(Ordering::Relaxed));
        record
    }
}

/// A listener's entry; dropping it removes the entry.
struct Registration {
    directory: Embedded,
    id: ListenerId,
    entity: EntityKey,
    since: Instant,
    life: Arc<Life>,
}

impl Presence for Registration {
    fn heard(&self, at: Instant) {
        let after = at.saturating_duration_since(self.since).as_millis();
        self.life.heard.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.directory.table();
        table.listeners.remove(&self.id);
        if let Some(period) = table.entities.get_mut(&self.entity) {
            period.listeners.retain(|id| *id != self.id);
            if period.listeners.is_empty() {
                table.entities.remove(&self.entity);
            }
        }
        table.announce(&self.entity, self.directory.env.wall_clock(), self.id, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::directory::{Handover, KeyIdentity};

    fn directory(edit: impl FnOnce(&mut Config)) -> Embedded {
        let mut config = Config::default();
        edit(&mut config);
        Embedded::new(Env::system(), LiveConfig::new(config))
    }

    fn record(directory: &Embedded, id: u128) -> ListenerRecord {
        ListenerRecord {
            id: ListenerId(id),
            entity: EntityKey::new("n", "Hyco"),
            tracking_id: "id".to_owned(),
            since: SystemTime::UNIX_EPOCH,
            address: ([127, 0, 0, 1], 1).into(),
            agent: None,
            key: KeyIdentity { entity_rule: false, rule: "r".to_owned(), secondary: false },
            features: Vec::new(),
            labels: BTreeMap::new(),
            base: "ws://localhost".to_owned(),
            in_flight: 0,
            last_byte: directory.env.now(),
        }
    }

    fn delivery(length: usize) -> Delivery {
        Delivery { text: "x".repeat(length), body: None, request_id: None, one_way: false }
    }

    #[test]
    fn a_listener_is_known_as_long_as_its_lease_lives() {
        let directory = directory(|_| {});
        let entity = EntityKey::new("n", "hyco");
        let watcher = directory.watch(&entity);
        let lease = directory.register(record(&directory, 1), 2).expect("room");
        assert_eq!(*watcher.borrow(), 1);
        drop(lease);
        assert_eq!(*watcher.borrow(), 0);
        assert!(directory.listeners(&entity).is_empty());
    }

    #[tokio::test]
    async fn a_thousand_lives_are_a_thousand_pairs_in_order() {
        let directory = directory(|_| {});
        let entity = EntityKey::new("n", "hyco");
        let _always = directory.register(record(&directory, 0), 10).expect("room");
        let Following { present, mut changes } = directory.presence(&entity, None);
        assert_eq!(present.expect("a first look").listeners.len(), 1);
        for id in 1..=1_000 {
            drop(directory.register(record(&directory, id), 10).expect("room"));
            for came in [true, false] {
                let change = changes.next().await.expect("all are kept");
                assert_eq!((change.id, change.came.is_some()), (ListenerId(id), came));
                assert_eq!(change.count, 1 + usize::from(came));
            }
        }
    }

    #[tokio::test]
    async fn an_entity_is_online_from_its_first_listener_to_its_last() {
        let directory = directory(|_| {});
        let entity = EntityKey::new("n", "hyco");
        let Following { present, mut changes } = directory.follow_entities("n", None);
        assert_eq!(present, Some(Vec::new()));
        let first = directory.register(record(&directory, 1), 10).expect("room");
        let second = directory.register(record(&directory, 2), 10).expect("room");
        let came = changes.next().await.expect("all are kept");
        assert_eq!((came.entity, came.online), (entity.clone(), true));
        assert_eq!(directory.entities("n"), [(entity, came.at)]);
        assert!(directory.entities("another").is_empty());
        let position = changes.position();
        drop(first);
        drop(second);
        assert!(!changes.next().await.expect("all are kept").online, "the second listener told nothing");
        let again = directory.follow_entities("n", Some(position));
        assert!(again.present.is_none());
        assert_eq!(
            directory.presence(&EntityKey::new("n", "hyco"), Some(position)).present.map(|p| p.since),
            Some(None)
        );
    }

    #[test]
    fn a_listener_is_as_busy_as_there_are_those_who_occupy_it_and_they_may_outlive_it() {
        let directory = directory(|_| {});
        let entity = EntityKey::new("n", "hyco");
        let in_flight = || directory.listeners(&entity)[0].in_flight;
        let lease = directory.register(record(&directory, 1), 10).expect("room");
        let (first, second) = (directory.occupy(ListenerId(1)), directory.occupy(ListenerId(1)));
        assert_eq!(in_flight(), 2);
        drop(first);
        assert_eq!(in_flight(), 1);
        drop(lease);
        let _again = directory.register(record(&directory, 1), 10).expect("room");
        drop((second, directory.occupy(ListenerId(2))));
        assert_eq!(in_flight(), 0);
    }

    #[tokio::test]
    async fn a_one_way_delivery_tells_how_far_it_has_come() {
        let directory = directory(|_| {});
        for expected in [Handover::Nothing, Handover::InPart, Handover::Whole] {
            let mut lease = directory.register(record(&directory, 1), 10).expect("room");
            let one_way = Delivery { one_way: true, ..delivery(1) };
            let mut replies = directory.deliver(ListenerId(1), one_way).await.expect("room");
            if expected != Handover::Nothing {
                let inbound = lease.inbox.recv().await.expect("it is queued");
                let mut receipt = inbound.reply_to.receipt.expect("it is one-way");
                receipt.begins();
                if expected == Handover::Whole {
                    receipt.ends();
                }
            }
            drop(lease);
            assert_eq!(replies.handed_over().await, expected);
        }
    }

    #[test]
    fn one_listener_too_many_is_refused_until_another_leaves() {
        let directory = directory(|_| {});
        let _first = directory.register(record(&directory, 1), 2).expect("room");
        let second = directory.register(record(&directory, 2), 2).expect("room");
        assert_eq!(directory.register(record(&directory, 3), 2).err(), Some(RegisterError::TooMany));
        drop(second);
        assert!(directory.register(record(&directory, 4), 2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_to_a_full_queue_waits_and_then_fails() {
        for edit in
            [(|config: &mut Config| config.limits.queued_deliveries = 1) as fn(&mut Config), |config: &mut Config| {
                config.limits.queued_bytes = 100
            }]
        {
            let directory = directory(edit);
            let mut lease = directory.register(record(&directory, 1), 2).expect("room");
            let _replies = directory.deliver(ListenerId(1), delivery(80)).await.expect("room");
            let before = directory.env.now();
            assert_eq!(directory.deliver(ListenerId(1), delivery(80)).await.err(), Some(DeliverError::Busy));
            assert_eq!(directory.env.now() - before, Duration::from_secs(5));
            drop(lease.inbox.recv().await);
            assert!(directory.deliver(ListenerId(1), delivery(80)).await.is_ok());
        }
    }

    #[tokio::test]
    async fn the_replies_end_when_the_listener_goes() {
        let directory = directory(|_| {});
        let lease = directory.register(record(&directory, 1), 2).expect("room");
        let mut replies = directory.deliver(ListenerId(1), delivery(1)).await.expect("room");
        drop(lease);
        assert!(replies.next().await.is_none());
        assert_eq!(directory.deliver(ListenerId(1), delivery(1)).await.err(), Some(DeliverError::Gone));
    }
}
