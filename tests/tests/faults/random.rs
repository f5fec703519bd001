//! A hundred faults in an order that seeds decide. `cargo xtask soak` plays more.

use hybridrelay_tests::faults::{random, simulated};

use crate::{programs, run};

#[test]
fn twenty_faults_of_real_processes_are_mended() {
    run(async {
        let report = random::play_at_once(&programs(), 1, 20, 2).await;
        println!("{report}");
        assert_eq!(report.faults(), 20);
    });
}

#[test]
fn eighty_simulated_faults_are_mended() {
    for seed in 1..=4 {
        let report = simulated::play(seed, 20);
        println!("{report}");
        assert_eq!(report.faults(), 20);
    }
}
