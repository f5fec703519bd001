//! A relay with rules of every kind.

use std::time::{Duration, SystemTime};

use hybridrelay::token::SasToken;
use hybridrelay_relay::{Config, Discoverable, Entity, Namespace, Rights, Rule, Visibility};
use hybridrelay_tests::wire::peers::RawListener;
use hybridrelay_tests::wire::raw::{Ask, Door, RawHttp, RawResponse};
use hybridrelay_tests::wire::setup::{Served, entity, serve, until};

/// The host that every token names.
pub(crate) const HOST: &str = "127.0.0.1";

/// Every rule has its own name for its key.
pub(crate) const RULES: [(&str, Rights); 4] = [
    ("listen", Rights::LISTEN),
    ("send", Rights::SEND),
    ("manage", Rights::MANAGE),
    ("nothing", Rights { listen: false, send: false, manage: false }),
];

/// A relay with the hybrid connections `hyco`, `hyco/below` and `open`, which needs no token; `hyco` has a rule `own` to send.
pub(crate) async fn world(edit: impl FnOnce(Namespace) -> Namespace) -> Served {
    let namespace = RULES
        .iter()
        .fold(Namespace::new("n"), |namespace, (name, rights)| namespace.with_rule(Rule::new(*name, *rights, *name)));
    let namespace = namespace
        .with_entity(entity("Hyco").with_rule(Rule::new("own", Rights::SEND, "own")))
        .with_entity(entity("hyco/below"))
        .with_entity(entity("open").anonymous());
    // Tests guess a lot.
    let mut config = Config::default();
    config.limits.failed_authorizations_per_minute = 10_000;
    serve([edit(namespace)], config).await
}

/// A token of a rule for a path.
pub(crate) fn token(rule: &str, path: &str) -> String {
    token_until(rule, path, SystemTime::now() + Duration::from_secs(3600))
}

/// The same with an end.
pub(crate) fn token_until(rule: &str, path: &str, end: SystemTime) -> String {
    SasToken::create(&format!("http://{HOST}/{path}"), rule, rule, end).to_text()
}

/// Gets online.
pub(crate) async fn listen(relay: &Served, path: &str) -> RawListener {
    listen_with(relay, path, |ask| ask).await
}

/// The same with something more in the handshake.
pub(crate) async fn listen_with(relay: &Served, path: &str, more: impl FnOnce(Ask) -> Ask) -> RawListener {
    let ask = Ask::websocket(format!("/$hc/{path}?sb-hc-action=listen")).token(&token("listen", path));
    RawListener::new(&relay.door, more(ask).send(&relay.door).await)
}

/// Vanishes, and waits until the relay has noticed.
pub(crate) async fn vanish(relay: &Served, listener: RawListener, path: &str) {
    let online = relay.handle.watch_listeners("n", path);
    let before = *online.borrow();
    drop(listener);
    until(|| *online.borrow() < before).await;
}

/// Asks and reads the whole answer, on a connection of its own.
pub(crate) async fn ask(door: &Door, ask: Ask) -> RawResponse {
    let mut http = RawHttp::open(door).await;
    http.ask(door, &ask).await;
    http.response().await
}

/// A hybrid connection that may be found.
pub(crate) fn found(path: &str, visibility: Visibility) -> Entity {
    entity(path).discoverable(Discoverable::new(visibility))
}
