//! Programs end as programs do: when they like, and when they are told to.

use std::os::unix::process::ExitStatusExt;

use hybridrelay::{Connection, ErrorKind};
use hybridrelay_tests::program::patiently;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::life::{ENTITY, Life, each};

/// A listener, with somebody who waits for the next sender, and a connection with somebody who waits for a message.
///
/// Returns the other end of another connection.
async fn in_the_middle_of_everything(life: &Life) -> Option<Connection> {
    life.ask(json!({"op": "open", "as": "listener"})).await;
    let mut peer = None;
    if !life.lacks("accept") {
        let accepting = life.ask(json!({"op": "accept", "on": "listener", "as": "of-the-peer"}));
        let (connection, _) = tokio::join!(patiently("a connection", life.peer().connect().open()), accepting);
        peer = Some(connection.expect("connected"));
    }
    if !life.lacks("accept") && !life.lacks("connect") {
        life.connect("open").await;
        life.begin_to(json!({"op": "receive", "on": "open-accepted"})).await;
    }
    life.begin_to(json!({"op": "accept", "on": "listener", "as": "none"})).await;
    // Behind its answer the others are under way.
    life.ask(json!({"op": "counters"})).await;
    peer
}

/// What others see of a program that has gone: a loss, and no end in good order.
async fn is_seen_to_be_lost(life: &Life, peer: Option<Connection>) {
    life.site.until_listeners(ENTITY, false).await.expect("the relay runs");
    if let Some(peer) = peer {
        let received = patiently("the end of the connection", peer.receive()).await;
        let kind = received.map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::ConnectionLost), "{}", life.member.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_ends_without_closing_anything_and_its_exit_code_is_its_own() {
    each(&[], |life| async move {
        let peer = in_the_middle_of_everything(&life).await;
        life.begin_to(json!({"op": "exit", "code": 7})).await;
        let status = life.testee().ended().await.unwrap_or_else(|error| life.fail(&format!("{error:#}")));
        assert_eq!(status.code(), Some(7), "{}: {status}", life.member.name);
        is_seen_to_be_lost(&life, peer).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_handle_sigint_or_sigterm_dies_of_it() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        each(&[], |life| async move {
            let peer = in_the_middle_of_everything(&life).await;
            life.testee().signal(signal).expect("it runs");
            let status = life.testee().ended().await.unwrap_or_else(|error| life.fail(&format!("{error:#}")));
            assert_eq!(status.signal(), Some(signal as i32), "{}: {status}", life.member.name);
            is_seen_to_be_lost(&life, peer).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_told_anything_any_more_ends() {
    each(&[], |life| async move {
        let peer = in_the_middle_of_everything(&life).await;
        life.testee().end_of_input().await;
        let status = life.testee().ended().await.unwrap_or_else(|error| life.fail(&format!("{error:#}")));
        assert!(status.success(), "{}: {status}", life.member.name);
        is_seen_to_be_lost(&life, peer).await;
    })
    .await;
}
