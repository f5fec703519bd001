//! What the tests of relayed HTTP share.

use hybridrelay_relay::{Config, Entity, HttpSettings, LocalRelay, Namespace, RelayHandle, Rights, Rule};
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::peers::{RawListener, token, token_of};
use hybridrelay_tests::wire::raw::{Ask, Door, RawHttp, RawResponse};
use hybridrelay_tests::wire::setup::{self, HYCO, Served};

/// The key of a served namespace's one rule.
const KEY: &str = "k";

/// A relay with a raw listener, and a sender's connection to it.
pub(crate) struct World {
    pub(crate) relay: AnyRelay,
    pub(crate) token: String,
    pub(crate) door: Door,
    pub(crate) listener: RawListener,
    pub(crate) sender: RawHttp,
}

pub(crate) enum AnyRelay {
    Local(LocalRelay),
    Served(Served),
}

impl AnyRelay {
    pub(crate) async fn shutdown(self, drain: std::time::Duration) {
        match self {
            Self::Local(relay) => relay.shutdown(drain).await,
            Self::Served(served) => served.handle.shutdown(drain).await,
        }
    }
}

impl World {
    pub(crate) async fn new(relay: LocalRelay) -> Self {
        let (door, token) = (Door::from(&relay), token_of(&relay));
        Self::at(AnyRelay::Local(relay), door, token, "").await
    }

    pub(crate) async fn plain() -> Self {
        Self::new(setup::plain().await).await
    }

    pub(crate) async fn tls() -> Self {
        Self::new(setup::tls().await).await
    }

    /// The listener offers these features.
    pub(crate) async fn with_features(features: &str) -> Self {
        let relay = setup::plain().await;
        let (door, token) = (Door::from(&relay), token_of(&relay));
        Self::at(AnyRelay::Local(relay), door, token, features).await
    }

    /// A relay with settings of the test's own for the hybrid connection's HTTP.
    pub(crate) async fn with_http(edit: impl FnOnce(&mut HttpSettings)) -> Self {
        let mut settings = HttpSettings::default();
        edit(&mut settings);
        Self::serve(setup::entity(HYCO).with_http(settings), Config::default()).await
    }

    /// A relay with this hybrid connection.
    pub(crate) async fn serve(entity: Entity, config: Config) -> Self {
        let namespace = Namespace::new("n").with_rule(Rule::new("all", Rights::MANAGE, KEY)).with_entity(entity);
        let served = setup::serve([namespace], config).await;
        let door = served.door.clone();
        Self::at(AnyRelay::Served(served), door, token("http://127.0.0.1/", "all", KEY), "").await
    }

    async fn at(relay: AnyRelay, door: Door, token: String, features: &str) -> Self {
        let listener = listener(&door, &token, features).await;
        let sender = RawHttp::open(&door).await;
        Self { relay, token, door, listener, sender }
    }

    pub(crate) fn local(&self) -> &LocalRelay {
        match &self.relay {
            AnyRelay::Local(relay) => relay,
            AnyRelay::Served(_) => panic!("a relay of its own"),
        }
    }

    pub(crate) fn handle(&self) -> &RelayHandle {
        match &self.relay {
            AnyRelay::Local(_) => panic!("a local relay"),
            AnyRelay::Served(served) => &served.handle,
        }
    }

    /// The usual settings from now on.
    pub(crate) fn with_patience(&self) {
        let AnyRelay::Served(served) = &self.relay else { panic!("a local relay") };
        assert!(served.store.put_entity("n", setup::entity(HYCO)));
    }

    pub(crate) fn metrics(&self) -> Samples {
        Samples::new(match &self.relay {
            AnyRelay::Local(relay) => relay.metrics_text(),
            AnyRelay::Served(served) => served.handle.metrics_text(),
        })
    }

    /// A further listener.
    pub(crate) async fn another_listener(&self, features: &str) -> RawListener {
        listener(&self.door, &self.token, features).await
    }

    /// A request of the sender, authorised; `rest` is what follows the entity.
    pub(crate) fn request(&self, method: &str, rest: &str) -> Ask {
        Ask::http(method, format!("/{HYCO}{rest}")).token(&self.token)
    }

    /// Sends it.
    pub(crate) async fn ask(&mut self, ask: &Ask) {
        self.sender.ask(&self.door, ask).await;
    }

    /// Sends it and waits for the relay's own answer.
    pub(crate) async fn refused(&mut self, ask: &Ask) -> RawResponse {
        self.ask(ask).await;
        self.sender.response().await
    }

    /// A new connection for the sender.
    pub(crate) async fn reconnect(&mut self) -> RawHttp {
        std::mem::replace(&mut self.sender, RawHttp::open(&self.door).await)
    }

    /// Sends an ordinary request, and its answer is what it should be: the connection and the listener are as good as new.
    pub(crate) async fn works(&mut self) {
        let ask = self.request("GET", "/works");
        self.ask(&ask).await;
        let asked = self.listener.request().await;
        assert_eq!(asked.field("requestTarget"), "/hyco/works");
        self.listener.respond(asked.response(200, true), Some(b"it works")).await;
        let response = self.sender.response().await;
        assert_eq!((response.status, response.text()), (200, "it works"));
    }
}

/// A listener on the hybrid connection.
pub(crate) async fn listener(door: &Door, token: &str, features: &str) -> RawListener {
    let ask = Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=listen")).token(token);
    let ask = if features.is_empty() { ask } else { ask.header("Relay-Features", features) };
    RawListener::new(door, ask.send(door).await)
}

/// A body of this size: all bytes below 251, so that a shift by a buffer shows.
pub(crate) fn body(size: usize) -> Vec<u8> {
    (0..251).cycle().take(size).collect()
}

/// A refusal by the relay itself: its status line, its JSON and its headers say the same (protocol.md 5.8).
#[track_caller]
pub(crate) fn assert_refused(response: &RawResponse, status: u16, code: &str, text: &str) {
    let RawResponse { reason, .. } = response;
    assert_eq!(response.status, status, "{response:?}");
    assert!(reason.contains(text), "{reason:?} instead of {text:?}");
    assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
    let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!((&body["error"]["code"], &body["error"]["message"]), (&code.into(), &reason.as_str().into()));
    let id = response.header("trackingid").expect("an id");
    assert!(reason.contains(&format!("TrackingId:{id}, SystemTracker:")), "{reason}");
    assert_eq!(response.header("via"), None, "it is the relay's own");
}
