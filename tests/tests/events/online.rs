//! Who is invited, and what a publisher learns of it.

use hybridrelay_relay::{Config, LocalRelay, NoSubscriber};
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, RawListener};
use hybridrelay_tests::wire::raw::{Ask, Door, text};
use hybridrelay_tests::wire::setup;

use crate::common::{count, expect, for_events, joined, listeners, plain, plain_and_tls, publisher};

#[tokio::test]
async fn a_publisher_is_let_in_although_nobody_listens_unless_that_is_forbidden() {
    let relay = plain(|_| {}).await;
    let mut alone = publisher(&relay).await;
    alone.send(&text("into the void")).await;
    setup::until(|| count(&relay, "published") == 1.0).await;

    let strict = plain(|settings| settings.no_subscriber = NoSubscriber::NotFound).await;
    let door = Door::from(&strict);
    let refused = peers::connect(&strict, "").send(&door).await;
    assert_eq!(refused.status, 404);
    assert!(refused.status_line.contains("There are no listeners connected"), "{}", refused.status_line);
    let _control = RawListener::open(&strict).await;
    assert_eq!(peers::connect(&strict, "").send(&door).await.status, 101);
}

#[tokio::test]
async fn an_invitation_tells_what_it_tells_of_any_sender() {
    for relay in plain_and_tls().await {
        let mut controls = listeners(&relay, 2).await;
        let ask = peers::connect(&relay, "/topic?a=b").header("X-Test", "yes");
        let publisher = ask.send(&Door::from(&relay)).await;
        assert_eq!(publisher.status, 101);
        let mut ids = Vec::new();
        for control in &mut controls {
            let invitation = control.invitation().await;
            assert!(invitation.field("address").contains("/$hc/hyco/topic?a=b&"), "{}", invitation.field("address"));
            assert_eq!(invitation.header("X-Test"), Some("yes"));
            assert!(invitation.remote().ip().is_loopback());
            ids.push(invitation.field("id").to_owned());
            assert_eq!(invitation.dial().await.status, 101);
            assert_eq!(invitation.dial().await.status, 403, "a ticket is good for one dial");
        }
        assert_eq!(ids[0], ids[1], "one publisher is one id");
    }
}

#[tokio::test]
async fn who_rejects_or_vanishes_is_left_out_and_nobody_else_notices() {
    for relay in plain_and_tls().await {
        let mut controls = listeners(&relay, 4).await;
        let mut publisher = publisher(&relay).await;
        let rejection =
            controls[0].invitation().await.dial_with("&sb-hc-statusCode=451&sb-hc-statusDescription=no").await;
        assert_eq!(rejection.status, 410);
        let unanswered = controls[1].invitation().await;
        let gone = controls.remove(1);
        drop(gone);
        let mut resetting = controls[1].accept().await;
        let mut staying = controls[2].accept().await;
        publisher.send(&text("one")).await;
        for subscriber in [&mut resetting, &mut staying] {
            expect(subscriber, "one").await;
        }
        resetting.reset();
        for event in ["two", "three"] {
            publisher.send(&text(event)).await;
            expect(&mut staying, event).await;
        }
        setup::until(|| relay.watch_listeners("hyco").borrow().to_owned() == 3).await;
        assert_eq!(unanswered.dial().await.status, 403, "its control channel has gone");
    }
}

#[tokio::test]
async fn a_subscriber_that_closes_is_answered_and_nobody_else_notices() {
    for relay in plain_and_tls().await {
        let (mut publisher, mut subscribers, _controls) = joined(&relay, 2).await;
        subscribers[0].send_close(Some(3000), "enough").await;
        assert_eq!(subscribers[0].close().await, (Some(3000), "enough".to_owned()));
        publisher.send(&text("for one")).await;
        expect(&mut subscribers[1], "for one").await;
        assert_eq!(relay.connections(), 1);
    }
}

#[tokio::test]
async fn only_the_listeners_that_a_publisher_names_are_invited() {
    let relay = plain(|_| {}).await;
    let door = Door::from(&relay);
    let id = "11111111-2222-4333-8444-555555555555";
    let listen = format!("/$hc/hyco?sb-hc-action=listen&sb-hc-id={id}");
    let named = Ask::websocket(listen).token(&peers::token_of(&relay));
    let mut named = RawListener::new(&door, named.send(&door).await);
    let mut other = RawListener::open(&relay).await;
    let ask = peers::connect(&relay, "").header("Microsoft-Relay-AllowedListeners", id);
    let mut publisher = ask.send(&door).await.websocket();
    let mut subscriber = named.accept().await;
    publisher.send(&text("for you alone")).await;
    expect(&mut subscriber, "for you alone").await;
    // The next that the other one hears of is another publisher.
    let mut second = crate::common::publisher(&relay).await;
    second.send(&text("for all")).await;
    expect(&mut other.accept().await, "for all").await;
}

#[tokio::test]
async fn more_listeners_may_be_online_than_elsewhere_and_that_has_a_limit_as_well() {
    let mut config = Config::default();
    config.limits.listeners_per_entity = 1;
    config.limits.subscribers_per_entity = 3;
    let relay = LocalRelay::builder().config(config).start().soon().await.expect("a free port");
    for_events(&relay, |_| {});
    let _online = listeners(&relay, 3).await;
    let listen = Ask::websocket("/$hc/hyco?sb-hc-action=listen").token(&peers::token_of(&relay));
    let refused = listen.send(&Door::from(&relay)).await;
    assert_eq!(refused.status, 403);
    assert!(refused.status_line.contains("QuotaExceeded"), "{}", refused.status_line);
    assert_eq!(Samples::from(&relay).refusals("subscribers_per_entity"), 1.0);
}
