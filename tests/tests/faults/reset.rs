//! Paths that reset what they carry.

use hybridrelay_tests::faults::middle::{Ending, Middle};
use hybridrelay_tests::faults::site::{MIDDLE_PORT, RELAY, Site, Way};
use hybridrelay_tests::faults::{millis, now};

use crate::{programs, run};

#[test]
fn a_reset_ends_presence_at_once_and_both_ends_of_a_connection_with_an_error() {
    run(async {
        let site = Site::start(&programs(), None).await;
        let middle = Middle::start(site.namespace(), (RELAY, MIDDLE_PORT).into(), (RELAY, 443).into());
        let peer = site.peer(1, &[]);
        let (past_middle, direct) = (site.target("hyco", Way::Middle), site.target("hyco", Way::Tls));
        peer.listen("listener", &past_middle).await;
        let mut presence = site.watch("hyco").await;
        assert_eq!(presence.expect("listeners").await["count"], 1);
        let hold = serde_json::json!({"do": "hold", "target": direct, "count": 4, "busy": 2});
        let mut held = peer.begin(hold).await;
        held.expect("held").await;

        for _ in 0..3 {
            // So that it cannot come back before its absence was seen.
            middle.admit(false);
            let reset = now();
            middle.cut(Ending::Reset);
            let gone = presence.expect("listeners").await;
            assert_eq!(gone["count"], 0);
            let noticed = millis(&gone, "at") - reset;
            assert!(noticed <= 3_000, "present for {noticed} ms behind the reset");

            let healed = now();
            middle.admit(true);
            peer.back("listener", &direct, healed).await;
            assert_eq!(presence.expect("listeners").await["count"], 1);
        }
        let ended = held.expect("ended").await;
        assert_eq!(ended["aborted"], 4, "{ended}");
    });
}
