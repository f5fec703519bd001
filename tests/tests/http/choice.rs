//! Which of several listeners is asked, by requests and by WebSocket senders alike (protocol.md 10, decision 67).

use std::collections::BTreeSet;

use futures_util::future::select_all;
use hybridrelay_relay::{Choice, Config, Namespace, Rights, Rule, StickyBy};
use hybridrelay_tests::wire::peers::{RawListener, token};
use hybridrelay_tests::wire::raw::{Ask, Door, RawHttp, RawWebSocket};
use hybridrelay_tests::wire::requests::{closed, respond};
use hybridrelay_tests::wire::setup::{self, HYCO, Served, until};

/// Enough that each of three listeners gets some of them.
const KEYS: usize = 60;

const KEY: &str = "k";

/// A relay with several listeners of one hybrid connection.
struct Choosing {
    served: Served,
    token: String,
    listeners: Vec<RawListener>,
}

impl Choosing {
    async fn with(choice: Choice, listeners: usize) -> Self {
        let entity = setup::entity(HYCO).with_choice(choice);
        let namespace = Namespace::new("n").with_rule(Rule::new("all", Rights::MANAGE, KEY)).with_entity(entity);
        let served = setup::serve([namespace], Config::default()).await;
        let mut choosing = Self { served, token: token("http://127.0.0.1/", "all", KEY), listeners: Vec::new() };
        for _ in 0..listeners {
            choosing.come().await;
        }
        choosing
    }

    /// One more listener, whose id follows from how many there are.
    async fn come(&mut self) {
        let id = format!("0b7f5c1e-6c1b-4b0e-9a55-{:012}", self.listeners.len());
        let ask = Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=listen&sb-hc-id={id}")).token(&self.token);
        self.listeners.push(RawListener::new(&self.served.door, ask.send(&self.served.door).await));
    }

    /// The last listener goes.
    async fn go(&mut self) {
        self.listeners.pop().expect("there is one").ws.reset();
        until(|| self.in_flight().len() == self.listeners.len()).await;
    }

    /// How busy each listener is.
    fn in_flight(&self) -> Vec<usize> {
        self.served.handle.listeners("n", HYCO).into_iter().map(|listener| listener.in_flight).collect()
    }

    fn request(&self, rest: &str) -> Ask {
        Ask::http("GET", format!("/{HYCO}{rest}")).token(&self.token)
    }

    /// Sends a one-way request through a door, and tells who got it.
    async fn send(&mut self, door: &Door, ask: Ask) -> usize {
        let mut sender = RawHttp::open(door).await;
        sender.ask(door, &ask.header("Relay-Delivery", "one-way")).await;
        let asking = self.listeners.iter_mut().enumerate();
        let asking = asking.map(|(number, listener)| Box::pin(async move { (number, listener.request().await) }));
        let ((number, asked), ..) = select_all(asking).await;
        self.listeners[number].respond(asked.response(204, false), None).await;
        assert_eq!(sender.response().await.status, 202);
        number
    }

    /// Who gets a request of this tenant.
    async fn of_tenant(&mut self, tenant: usize) -> usize {
        let (door, ask) = (self.served.door.clone(), self.request("").header("X-Tenant", &format!("tenant {tenant}")));
        self.send(&door, ask).await
    }

    /// Connects, and tells who accepts.
    async fn connect(&mut self, ask: Ask) -> (usize, [RawWebSocket; 2]) {
        let asking = self.listeners.iter_mut().enumerate();
        let asking = asking.map(|(number, listener)| Box::pin(async move { (number, listener.invitation().await) }));
        let meeting = async {
            let ((number, invitation), ..) = select_all(asking).await;
            (number, invitation.dial().await.websocket())
        };
        let (sender, (number, accepted)) = tokio::join!(ask.send(&self.served.door), meeting);
        (number, [sender.websocket(), accepted])
    }

    fn websocket(&self) -> Ask {
        Ask::websocket(format!("/$hc/{HYCO}")).token(&self.token)
    }
}

/// How many different ones there are.
fn distinct(chosen: &[usize]) -> usize {
    chosen.iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test]
async fn who_has_something_in_common_gets_the_same_listener_and_one_that_goes_moves_only_its_own() {
    let mut choosing = Choosing::with(Choice::Sticky(StickyBy::Header("x-tenant".parse().unwrap())), 3).await;
    let mut first = Vec::new();
    for tenant in 0..KEYS {
        first.push(choosing.of_tenant(tenant).await);
        let ask = choosing.websocket().header("X-Tenant", &format!("tenant {tenant}"));
        assert_eq!(choosing.connect(ask).await.0, first[tenant], "a WebSocket goes where requests go");
    }
    assert_eq!(distinct(&first), 3);

    choosing.go().await;
    for (tenant, before) in first.iter().enumerate() {
        let now = choosing.of_tenant(tenant).await;
        assert!(now == *before || *before == 2, "tenant {tenant} moved from {before} to {now}");
    }
    // The same id, a new channel.
    choosing.come().await;
    for (tenant, before) in first.iter().enumerate() {
        assert_eq!(choosing.of_tenant(tenant).await, *before);
    }
    // Who has no tenant gets any.
    let door = choosing.served.door.clone();
    let mut without = Vec::new();
    for _ in 0..KEYS {
        let ask = choosing.request("");
        without.push(choosing.send(&door, ask).await);
    }
    assert_eq!(distinct(&without), 3);
}

#[tokio::test]
async fn a_query_parameter_sticks_and_is_passed_on() {
    let mut choosing = Choosing::with(Choice::Sticky(StickyBy::Query("user".to_owned())), 3).await;
    let door = choosing.served.door.clone();
    let mut chosen = Vec::new();
    for user in 0..KEYS {
        let ask = |choosing: &Choosing, rest: &str| choosing.request(&format!("/x?{rest}user={user}"));
        let (one, other) = (ask(&choosing, ""), ask(&choosing, "a=b&"));
        chosen.push(choosing.send(&door, one).await);
        assert_eq!(choosing.send(&door, other).await, chosen[user]);
    }
    assert_eq!(distinct(&chosen), 3);
    let mut sender = RawHttp::open(&door).await;
    sender.ask(&door, &choosing.request("/x?user=7")).await;
    let asked = choosing.listeners[chosen[7]].request().await;
    assert_eq!(asked.field("requestTarget"), "/hyco/x?user=7");
}

#[tokio::test]
async fn an_address_sticks_whatever_its_port() {
    let mut choosing = Choosing::with(Choice::Sticky(StickyBy::Address), 3).await;
    let mut chosen = Vec::new();
    for host in 1..=30 {
        let door = choosing.served.door.from_address([127, 0, 1, host]);
        let (one, other) = (choosing.request(""), choosing.request(""));
        let first = choosing.send(&door, one).await;
        assert_eq!(choosing.send(&door, other).await, first);
        chosen.push(first);
    }
    assert!(distinct(&chosen) > 1);
}

#[tokio::test]
async fn listeners_that_a_sender_excludes_are_not_chosen_whatever_sticks_or_is_busy() {
    for choice in [Choice::Sticky(StickyBy::Address), Choice::LeastBusy, Choice::Random] {
        let mut choosing = Choosing::with(choice, 3).await;
        let door = choosing.served.door.clone();
        for allowed in 0..3 {
            let id = format!("0b7f5c1e-6c1b-4b0e-9a55-{allowed:012}");
            let ask = choosing.request("").header("Microsoft-Relay-AllowedListeners", &id);
            assert_eq!(choosing.send(&door, ask).await, allowed);
        }
    }
}

#[tokio::test]
async fn a_listener_is_busy_with_what_it_has_been_given_until_that_is_over() {
    let mut choosing = Choosing::with(Choice::LeastBusy, 2).await;
    let door = choosing.served.door.clone();
    // Connections that are open.
    let mut open: [Vec<[RawWebSocket; 2]>; 2] = Default::default();
    for _ in 0..10 {
        let ask = choosing.websocket();
        let (number, ends) = choosing.connect(ask).await;
        open[number].push(ends);
    }
    assert_eq!((open[0].len(), open[1].len()), (5, 5));
    assert_eq!(choosing.in_flight(), [5, 5]);
    for [sender, _accepted] in open[0].drain(..3) {
        sender.reset();
    }
    until(|| choosing.in_flight() == [2, 5]).await;

    // Requests without an answer, by both ways of delivery.
    let mut senders = Vec::new();
    let mut given = Vec::new();
    for chunked in [false, true, false] {
        let mut sender = RawHttp::open(&door).await;
        let ask = choosing.request("");
        sender.ask(&door, &if chunked { ask.chunked(b"body", 4) } else { ask }).await;
        given.push(choosing.listeners[0].request().await);
        senders.push(sender);
    }
    assert_eq!(choosing.in_flight(), [5, 5]);
    let (mut fetched, asked) = given[1].fetch().await;
    assert_eq!(choosing.in_flight(), [5, 5]);
    respond(&mut fetched, asked.response(204, false), None).await;
    closed(&mut fetched, 1000).await;
    assert_eq!(senders[1].response().await.status, 204);
    choosing.listeners[0].respond(given[0].response(204, false), None).await;
    assert_eq!(senders[0].response().await.status, 204);
    until(|| choosing.in_flight() == [3, 5]).await;

    // A sender that goes.
    senders.pop().expect("the last one waits").into_socket().reset();
    until(|| choosing.in_flight() == [2, 5]).await;

    // Connections outlive the channel over which they came: they are not those of the next one under the same id.
    choosing.go().await;
    choosing.come().await;
    assert_eq!(choosing.in_flight(), [2, 0]);
    for [sender, mut accepted] in open[1].drain(..) {
        sender.reset();
        let mut rest = Vec::new();
        while accepted.socket().receive(&mut rest).await.is_ok_and(|read| read > 0) {}
    }
    assert_eq!(choosing.in_flight(), [2, 0]);
    let ask = choosing.websocket();
    assert_eq!(choosing.connect(ask).await.0, 1);
}
