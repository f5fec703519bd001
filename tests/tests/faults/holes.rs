//! Paths that swallow everything for a while. Longer ones are played by `cargo xtask soak`.

use hybridrelay_tests::faults::holes;

use crate::{programs, run};

#[test]
fn behind_a_hole_the_listener_is_online_again_and_nothing_is_left() {
    run(async {
        let report = holes::play(&programs(), &[1, 5, 15, 36, 41, 45]).await;
        println!("{report}");
        assert_eq!(report.faults(), 6);
    });
}
