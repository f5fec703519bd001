//! Programs end as programs do: when they like, and when they are told to.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::life::{ENTITY, Life, each};

/// A listener, with somebody who waits for the next sender, and a connection with somebody who waits for a message.
async fn in_the_middle_of_everything(life: &Life) {
    life.ask(json!({"op": "open", "as": "listener"})).await;
    if !life.lacks("accept") && !life.lacks("connect") {
        life.connect("open").await;
        life.begin_to(json!({"op": "receive", "on": "open-accepted"})).await;
    }
    life.begin_to(json!({"op": "accept", "on": "listener", "as": "none"})).await;
    // Behind its answer the others are under way.
    life.ask(json!({"op": "counters"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_ends_without_closing_anything_and_its_exit_code_is_its_own() {
    each(&[], |life| async move {
        in_the_middle_of_everything(&life).await;
        life.begin_to(json!({"op": "exit", "code": 7})).await;
        let status = life.testee().ended().await.unwrap_or_else(|error| life.fail(&format!("{error:#}")));
        assert_eq!(status.code(), Some(7), "{}: {status}", life.member.name);
        life.site.until_listeners(ENTITY, false).await.expect("the relay runs");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_handle_sigint_or_sigterm_dies_of_it() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        each(&[], |life| async move {
            in_the_middle_of_everything(&life).await;
            life.testee().signal(signal).expect("it runs");
            let status = life.testee().ended().await.unwrap_or_else(|error| life.fail(&format!("{error:#}")));
            assert_eq!(status.signal(), Some(signal as i32), "{}: {status}", life.member.name);
            life.site.until_listeners(ENTITY, false).await.expect("the relay runs");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_told_anything_any_more_ends() {
    each(&[], |life| async move {
        in_the_middle_of_everything(&life).await;
        life.testee().end_of_input().await;
        let status = life.testee().ended().await.unwrap_or_else(|error| life.fail(&format!("{error:#}")));
        assert!(status.success(), "{}: {status}", life.member.name);
    })
    .await;
}
