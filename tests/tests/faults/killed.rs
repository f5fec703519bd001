//! A relay that is killed under its connections.

use hybridrelay_tests::faults::settled;
use hybridrelay_tests::faults::site::{Site, Way};
use serde_json::{Value, json};

use crate::{programs, run};

/// Connections of each of two kinds, of which half are busy.
const CONNECTIONS: usize = 50;

#[test]
fn a_relay_that_is_killed_under_a_hundred_connections_ends_all_of_them_with_an_error_and_is_found_again() {
    run(async {
        let mut site = Site::start(&programs(), None).await;
        let (office, phone) = (site.peer(1, &[]), site.peer(2, &[]));
        let targets = [("plain", site.target("plain", Way::Plain)), ("tls", site.target("tls", Way::Tls))];
        for (name, target) in &targets {
            office.listen(name, target).await;
        }
        let before = (site.quiet().await, office.quiet().await, phone.quiet().await);

        let mut held = Vec::new();
        for (_, target) in &targets {
            let hold = json!({"do": "hold", "target": target, "count": CONNECTIONS, "busy": CONNECTIONS / 2});
            let mut events = phone.begin(hold).await;
            events.expect("held").await;
            held.push(events);
        }
        assert_eq!(site.vitals().await.connections, 2 * CONNECTIONS as u64);
        site.kill_relay().await;

        for mut events in held {
            let ended = events.expect("ended").await;
            let how = ["aborted", "closed", "hanging"].map(|how| ended[how].as_u64());
            assert_eq!(how, [Some(CONNECTIONS as u64), Some(0), Some(0)], "an abort is no end of stream");
        }
        // The listener's ends, too: each knows that it was cut off.
        let ends = loop {
            let ends: Value = office.ask(json!({"do": "ends"}), "ends").await;
            if ends["open"] == 0 {
                break ends;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        assert_eq!((&ends["failed"], &ends["closed"]), (&json!(2 * CONNECTIONS), &json!(0)));

        let healed = site.start_relay().await;
        for (name, target) in &targets {
            office.back(name, target, healed).await;
            phone.echo(target, 1 << 20).await;
        }
        settled(before.0, || site.vitals()).await;
        settled(before.1, || office.vitals()).await;
        settled(before.2, || phone.vitals()).await;
    });
}
