//! A host for each hybrid connection, so that browsers see origins of their own.

use hybridrelay_relay::{Config, Namespace, Rights, Rule};
use hybridrelay_tests::wire::peers::{RawListener, token};
use hybridrelay_tests::wire::raw::{Ask, RawHttp};
use hybridrelay_tests::wire::setup;

use crate::common::{World, assert_refused};

#[tokio::test]
async fn a_host_stands_for_its_hybrid_connection_and_the_wire_to_the_listener_is_the_same() {
    let namespace = Namespace::new("n")
        .with_hosts(["relay.example.net", "127.0.0.1"])
        .with_rule(Rule::new("all", Rights::MANAGE, "k"))
        .with_entity_hosts("*.relay.example.net")
        .with_entity(setup::entity("web").anonymous())
        .with_entity(setup::entity("shop/orders").anonymous().with_host("orders.example.net"));
    let served = setup::serve([namespace], Config::default()).await;
    let token = token("http://127.0.0.1/", "all", "k");
    for (entity, host, path, target) in [
        ("web", "web.relay.example.net", "/", "/web/"),
        ("web", "WEB.relay.example.net:8443", "/a/b%20c?d=1", "/WEB/a/b c?d=1"),
        ("web", "relay.example.net", "/web/x", "/web/x"),
        ("shop/orders", "orders.example.net", "/7", "/shop/orders/7"),
        ("shop/orders", "relay.example.net", "/shop/orders/7", "/shop/orders/7"),
    ] {
        let listen = Ask::websocket(format!("/$hc/{entity}?sb-hc-action=listen")).token(&token);
        let mut listener = RawListener::new(&served.door, listen.send(&served.door).await);
        let mut sender = RawHttp::open(&served.door).await;
        sender.ask(&served.door, &Ask::http("GET", path).header("Host", host)).await;
        let asked = listener.request().await;
        assert_eq!(asked.field("requestTarget"), target);
        assert_eq!(asked.header("Host"), Some(&host.into()));
        let address = asked.field("address");
        assert!(address.starts_with(&format!("ws://{}/$hc/{entity}?", served.door.authority)), "{address}");
        listener.respond(asked.response(204, false), None).await;
        assert_eq!(sender.response().await.status, 204);
    }
    let mut sender = RawHttp::open(&served.door).await;
    for host in ["nobody.relay.example.net", "a.web.relay.example.net", "example.net"] {
        sender.ask(&served.door, &Ask::http("GET", "/web").header("Host", host)).await;
        let response = sender.response().await;
        assert!(matches!(response.status, 401 | 404), "{host}: {response:?}");
    }
}

#[tokio::test]
async fn a_web_application_reaches_its_own_websocket_by_its_own_host() {
    let world = World::plain().await;
    let mut listener = world.listener;
    let door = world.door.clone();
    let own = Ask::websocket("/ws?room=7").header("Host", "hyco.localhost").token(&world.token);
    let (answer, invitation) = tokio::join!(own.send(&door), async {
        let invitation = listener.invitation().await;
        invitation.dial().await.websocket();
        invitation
    });
    answer.websocket();
    assert!(invitation.field("address").contains("/$hc/hyco/ws?room=7&sb-hc-action=accept&"));
}

#[tokio::test]
async fn a_development_relay_has_a_certificate_for_each_name_below_localhost() {
    let mut world = World::tls().await;
    for name in ["hyco.localhost", "Hyco.localhost", "hyco.localhost"] {
        // The handshake fails unless the certificate is for that name.
        let door = world.door.named(name);
        let mut sender = RawHttp::open(&door).await;
        sender.ask(&door, &Ask::http("GET", "/x").token(&world.token)).await;
        let asked = world.listener.request().await;
        assert!(asked.field("requestTarget").eq_ignore_ascii_case("/hyco/x"));
        world.listener.respond(asked.response(204, false), None).await;
        assert_eq!(sender.response().await.status, 204);
    }
    let door = world.door.named("nobody.localhost");
    let mut sender = RawHttp::open(&door).await;
    sender.ask(&door, &Ask::http("GET", "/x").token(&world.token)).await;
    assert_refused(&sender.response().await, 404, "EndpointNotFound", "Endpoint does not exist");
}
