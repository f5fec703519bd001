//! Many events for many subscribers: the small version of `cargo xtask soak --events`.

use hybridrelay_tests::broadcast::{self, Programs, Scale};

const SCALE: Scale = Scale { publishers: 4, events: 2000, size: 4096, processes: 3, subscribers: 4 };

#[tokio::test]
async fn those_who_read_get_everything_while_others_are_stopped_and_these_are_told_what_they_missed() {
    let programs =
        Programs { relay: env!("CARGO_BIN_EXE_relay_process").into(), peer: env!("CARGO_BIN_EXE_event-peer").into() };
    let outcome = broadcast::play(&programs, SCALE).await;
    let Scale { publishers, events, processes, subscribers, .. } = SCALE;
    assert!(outcome.missed > 0, "{outcome}");
    assert_eq!(outcome.delivered + outcome.missed, events * (publishers * processes * subscribers) as u64);
    let (idle, most) = outcome.resident;
    assert!(most < idle + 48 * 1024, "{outcome}");
}
