//! What one peer, key, hybrid connection, namespace or relay may use at most.

/// Limits. Each is refused with a text that says what was too much for whom, and counted in the metric
/// `hybridrelay_refusals_total` with the limit's name as its `reason`.
///
/// Counting is done on each node for itself. A *key* is a rule of a namespace or of one hybrid connection, whichever of its two keys
/// signed; whoever needs no token has none. An *address* is an IPv4 address or the /64 of an IPv6 address.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Accepted sockets at once, in whatever state: 65 536. More are closed unanswered.
    pub sockets: usize,
    /// Sockets at once that have not been authorised for anything: 16 384. More are closed unanswered.
    pub unauthenticated: usize,
    /// The same per address: 4 096.
    pub unauthenticated_per_address: usize,
    /// Handshakes at once, TLS and the first request up to its admission: 512. Further sockets wait for their turn, as long as
    /// [`Timings::handshake`](crate::Timings::handshake).
    pub handshakes: usize,
    /// The same per address, so that one cannot hold up the others: 128.
    pub handshakes_per_address: usize,
    /// Request line and header fields of one request: 32 KiB. Larger ones get 431.
    pub header_block: usize,
    /// Refused tokens in a minute per address: 20. Then no token from there is looked at for a while, valid ones included: 429, or
    /// 503 for a WebSocket, with `Retry-After`. A request without a token does not count.
    pub failed_authorizations_per_minute: u64,

    /// Listeners online per namespace: 50 000. One more is refused with 403.
    pub listeners_per_namespace: usize,
    /// Listeners online per hybrid connection: 25. One more is refused with 403.
    pub listeners_per_entity: usize,
    /// The same where every listener gets everything: 10 000. One more is refused with 403.
    pub subscribers_per_entity: usize,
    /// Listeners online per key: 50 000. One more is refused with 403.
    pub listeners_per_key: usize,
    /// Listeners online per address: 10 000. One more is refused with 403.
    pub listeners_per_address: usize,

    /// Listeners that are refused by one of these four limits and told at once, in a minute per address and hybrid connection: 60. More
    /// are told at this rate, each in its turn. Whoever there is room for is let in at once, whoever else waits to be refused.
    pub refused_listens_per_minute: u64,
    /// Listeners at once per address that wait to be told: 1 024. More are told at once.
    pub held_refusals_per_address: usize,

    /// Senders that wait for a listener's dial per hybrid connection: 1 000. More are refused with 503.
    pub waiting_per_entity: usize,
    /// Senders that wait for a listener's dial per sender's address: 100. More are refused with 503.
    pub waiting_per_address: usize,

    /// Relayed connections at once per namespace, those that wait for their listener included: 30 000 (Azure: 5 000). More are
    /// refused with 503.
    pub connections_per_namespace: usize,
    /// The same per hybrid connection: 20 000.
    pub connections_per_entity: usize,
    /// The same per key of the sender: 20 000.
    pub connections_per_key: usize,
    /// The same per address of the sender: 10 000.
    pub connections_per_address: usize,

    /// HTTP requests in flight per hybrid connection, from their admission to the end of the response: 20 000. More are refused with
    /// 503. Each is a relayed connection, too, and counts among those.
    pub requests_per_entity: usize,
    /// The same per listener: 10 000. Other listeners are asked first. A one-way request counts until the listener has answered it, or has
    /// had the time for that.
    pub requests_per_listener: usize,

    /// New relayed connections in a second per namespace: no limit. More are refused with 503 and `Retry-After`. As many may come at
    /// once as in one second.
    pub connections_per_second_per_namespace: Option<u64>,
    /// The same per hybrid connection.
    pub connections_per_second_per_entity: Option<u64>,
    /// The same per key of the sender.
    pub connections_per_second_per_key: Option<u64>,
    /// The same per address of the sender.
    pub connections_per_second_per_address: Option<u64>,

    /// Bytes in a second that are relayed per namespace, both directions together: no limit. Above it the relay reads less, so that
    /// the peers are slowed by TCP; nothing is dropped or kept.
    pub bytes_per_second_per_namespace: Option<u64>,
    /// The same per hybrid connection.
    pub bytes_per_second_per_entity: Option<u64>,
    /// The same per key of the sender.
    pub bytes_per_second_per_key: Option<u64>,
    /// The same per address of the sender.
    pub bytes_per_second_per_address: Option<u64>,

    /// Messages queued for one listener: 64.
    pub queued_deliveries: usize,
    /// Bytes queued for one listener: 4 MiB.
    pub queued_bytes: usize,
    /// Longest text message accepted on a control channel: 128 KiB. Longer ones close it with 1009.
    pub control_text: usize,
    /// Longest binary message accepted on a control channel: 256 KiB. Longer ones close it with 1009.
    pub control_binary: usize,

    /// Hybrid connections that have series of their own in the metrics: 1 000. All later ones share the label `other`.
    pub entities_in_metrics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets: 65_536,
            unauthenticated: 16_384,
            unauthenticated_per_address: 4_096,
            handshakes: 512,
            handshakes_per_address: 128,
            header_block: 32 << 10,
            failed_authorizations_per_minute: 20,
            listeners_per_namespace: 50_000,
            listeners_per_entity: 25,
            subscribers_per_entity: 10_000,
            listeners_per_key: 50_000,
            listeners_per_address: 10_000,
            refused_listens_per_minute: 60,
            held_refusals_per_address: 1_024,
            waiting_per_entity: 1_000,
            waiting_per_address: 100,
            connections_per_namespace: 30_000,
            connections_per_entity: 20_000,
            connections_per_key: 20_000,
            connections_per_address: 10_000,
            requests_per_entity: 20_000,
            requests_per_listener: 10_000,
            connections_per_second_per_namespace: None,
            connections_per_second_per_entity: None,
            connections_per_second_per_key: None,
            connections_per_second_per_address: None,
            bytes_per_second_per_namespace: None,
            bytes_per_second_per_entity: None,
            bytes_per_second_per_key: None,
            bytes_per_second_per_address: None,
            queued_deliveries: 64,
            queued_bytes: 4 << 20,
            control_text: 128 << 10,
            control_binary: 256 << 10,
            entities_in_metrics: 1_000,
        }
    }
}
