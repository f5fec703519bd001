//! Hybrid connections at which every listener gets everything.

/// Who gets what the senders of a hybrid connection send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// One listener each sender and each request.
    #[default]
    One,
    /// Every listener gets every request and every message of every WebSocket sender.
    All(EventSettings),
}

/// Settings of one hybrid connection for events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventSettings {
    /// The longest event in bytes: 1 MiB. A publisher with a longer one is closed with 1009, a longer request gets 413.
    pub max_event: usize,
    /// How many bytes wait for one subscriber at most: 1 MiB. One event always may.
    pub queue: usize,
    /// What happens to a subscriber for which more would have to wait.
    pub slow_subscriber: SlowSubscriber,
    /// What a publisher gets when nobody listens.
    pub no_subscriber: NoSubscriber,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self {
            max_event: 1 << 20,
            queue: 1 << 20,
            slow_subscriber: SlowSubscriber::default(),
            no_subscriber: NoSubscriber::default(),
        }
    }
}

/// What happens to a subscriber that does not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowSubscriber {
    /// It misses the events that have waited longest.
    #[default]
    DropOldest,
    /// It is closed with 1008.
    Disconnect,
    /// Its publisher waits, and with it everybody else.
    Block,
}

/// What a publisher gets when nobody listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoSubscriber {
    /// It may publish; nobody gets it.
    #[default]
    Accept,
    /// It is refused as any sender.
    NotFound,
}
