//! From a sender's knock to a listener's dial (protocol.md 4.5, 4.6 and 10, decisions 5, 15, 17).

use std::time::Duration;

use futures_util::StreamExt;
use hybridrelay::env::Socket;
use hybridrelay::env::sim;
use hybridrelay::{Connection, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::raw::{RawListener, keep_reading};
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Waits for whichever of two listeners is asked first; returns the address, that listener, and the other.
async fn asked(mut one: RawListener, mut two: RawListener) -> (String, RawListener, RawListener) {
    tokio::select! {
        address = one.accept_address() => (address, one, two),
        address = two.accept_address() => (address, two, one),
    }
}

/// A listener that was asked to accept a sender, that sender's connect, and the address to dial.
async fn invited(world: &World) -> (RawListener, JoinHandle<Result<Connection>>, String) {
    let mut listener = RawListener::open(world, HOUR).await;
    let connecting = tokio::spawn(world.sender().build().unwrap().connect().open());
    let address = listener.accept_address().await;
    (listener, connecting, address)
}

fn vanish(mut listener: RawListener) {
    listener.control.get_mut().abort();
}

#[test]
fn a_listener_that_never_dials_costs_the_sender_30_s_and_a_504() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut listener = RawListener::open(&world, HOUR).await;
        let begun = sim.elapsed();
        let idling = tokio::spawn(async move { keep_reading(&mut listener.control).await });
        let error = world.sender().build().unwrap().connect().open().await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Timeout, Some(504)));
        assert!(error.reason().is_some_and(|reason| reason.contains("within the allowed timeout")), "{error}");
        assert_eq!(sim.elapsed() - begun, 30 * SECOND);
        idling.abort();
    });
}

#[test]
fn another_listener_is_asked_when_the_first_ones_channel_dies() {
    for seed in 1..=4 {
        sim::run(seed, async |sim| {
            let world = World::start(sim.clone()).await;
            let (one, two) = (RawListener::open(&world, HOUR).await, RawListener::open(&world, HOUR).await);
            let sender = world.sender().build().unwrap();
            let connecting = tokio::spawn(sender.connect().open());

            let (first_address, first, mut second) = asked(one, two).await;
            sim.sleep(25 * SECOND).await;
            vanish(first);
            let address = second.accept_address().await;
            assert_ne!(address, first_address);
            assert_eq!(second.dial(&first_address).await.err(), Some(403), "the first invitation is void");
            let mut leg = second.dial(&address).await.expect("the invitation is good");
            let connection = connecting.await.unwrap().expect("accepted");
            connection.send("hello").await.unwrap();
            assert_eq!(leg.next().await.unwrap().unwrap(), Message::text("hello"));
        });
    }
}

#[test]
fn both_listeners_share_one_time_limit() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let (one, two) = (RawListener::open(&world, HOUR).await, RawListener::open(&world, HOUR).await);
        let begun = sim.elapsed();
        let sender = world.sender().build().unwrap();
        let connecting = tokio::spawn(sender.connect().open());
        let (_, first, mut second) = asked(one, two).await;
        sim.sleep(20 * SECOND).await;
        vanish(first);
        second.accept_address().await;
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Timeout, Some(504)));
        assert_eq!(sim.elapsed() - begun, 30 * SECOND);
    });
}

#[test]
fn a_sender_whose_only_listener_dies_is_told_at_once() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut listener = RawListener::open(&world, HOUR).await;
        let begun = sim.elapsed();
        let sender = world.sender().build().unwrap();
        let connecting = tokio::spawn(sender.connect().open());
        listener.accept_address().await;
        vanish(listener);
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Timeout, Some(504)));
        assert_eq!(sim.elapsed(), begun);
    });
}

#[test]
fn an_invitation_dies_with_its_first_use() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let (listener, connecting, address) = invited(&world).await;
        let _leg = listener.dial(&address).await.expect("the invitation is good");
        assert_eq!(listener.dial(&address).await.err(), Some(403));
        connecting.await.unwrap().expect("accepted");
        assert_eq!(listener.dial(&address).await.err(), Some(403));
    });
}

#[test]
fn an_invitation_dies_after_30_s() {
    for (wait, good) in [(29 * SECOND, true), (31 * SECOND, false)] {
        sim::run(1, async |sim| {
            let world = World::start(sim.clone()).await;
            let (listener, connecting, address) = invited(&world).await;
            sim.sleep(wait).await;
            let dialled = listener.dial(&address).await;
            assert_eq!(dialled.as_ref().err(), (!good).then_some(&403));
            assert_eq!(connecting.await.unwrap().is_ok(), good);
        });
    }
}

#[test]
fn an_invitation_dies_when_the_sender_goes_away() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let (listener, connecting, address) = invited(&world).await;
        connecting.abort();
        assert!(connecting.await.unwrap_err().is_cancelled());
        sim.sleep(SECOND).await;
        assert_eq!(listener.dial(&address).await.err(), Some(403));
    });
}
