//! Processes that are stopped. `cargo xtask soak` stops a listener for as long as the product bears it.

use std::time::Duration;

use hybridrelay_tests::faults::stopped;

use crate::{programs, run};

#[test]
fn a_listener_of_a_relay_that_is_stopped_does_not_stay_online_and_is_back_when_it_goes_on() {
    run(async {
        println!("{}", stopped::relay(&programs()).await);
    });
}

#[test]
fn a_listener_that_is_stopped_is_gone_for_the_relay_and_back_when_it_goes_on() {
    run(async {
        println!("{}", stopped::listener(&programs(), Some(Duration::from_secs(6))).await);
    });
}
