//! Two hundred readers that do not read. `cargo xtask soak` lets gigabytes wait.

use hybridrelay_tests::faults::stalled;

use crate::{programs, run};

#[test]
fn what_stalled_readers_cost_is_bounded_and_everything_arrives() {
    run(async {
        let report = stalled::play(&programs(), 100, 16 << 20).await;
        println!("{report}");
    });
}
