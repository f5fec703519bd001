//! A path that swallows everything.

use std::time::Duration;

use hybridrelay::{Message, Proxy, Sender};
use hybridrelay_relay::Config;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::world::in_world;

/// The relay notices a listener on a dead path by the first delivery that is not acknowledged, while a relayed connection with
/// data under way waits for the path to come back.
#[test]
fn a_dead_path_ends_the_control_channel_and_not_the_relayed_connection() {
    let mut config = Config::default();
    config.timings.write_stall = Duration::from_secs(2);
    // Silence must not be what ends it.
    config.timings.control_ping = Duration::from_secs(3600);
    config.timings.control_gone = Duration::from_secs(3600);
    in_world(config, |world| async move {
        world.client.open();
        let mut listener = world.peer(&world.plain(), "echo").spawn().unwrap();
        let mut said = BufReader::new(listener.stdout.take().unwrap()).lines();
        assert!(said.next_line().await.unwrap().unwrap().contains("online"));

        let sender = Sender::builder(world.plain()).proxy(Proxy::none()).build().unwrap();
        let connection = sender.connect().await.unwrap();
        connection.send("before").await.unwrap();
        assert_eq!(connection.receive().await.unwrap(), Some(Message::Text("before".to_owned())));

        world.proxy.stop_forwarding();
        connection.send("while it was dead").await.unwrap();
        connection.flush().await.unwrap();
        let mut listeners = world.relay.watch_listeners("test", "hyco");
        let unanswered = tokio::spawn(sender.connect().open());
        listeners.wait_for(|count| *count == 0).await.unwrap();

        world.proxy.open();
        assert_eq!(connection.receive().await.unwrap(), Some(Message::Text("while it was dead".to_owned())));
        unanswered.abort();
    });
}
