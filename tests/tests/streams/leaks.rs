//! Whatever ends, and however it ends: no task, no descriptor and no connection stays behind.

use std::future::Future;

use hybridrelay::ErrorKind;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers;
use hybridrelay_tests::wire::process::{RelayProcess, Vitals};
use hybridrelay_tests::wire::raw::text;
use hybridrelay_tests::wire::setup;

const RELAY: &str = env!("CARGO_BIN_EXE_relay_process");

/// Set in a process that runs one test alone.
const ALONE: &str = "HYBRIDRELAY_TEST_ALONE";

/// Runs a test's body in a process of its own, whose descriptors and tasks are the test's.
fn alone(name: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(ALONE).is_some() {
        return tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body);
    }
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1"];
    let run = std::process::Command::new(std::env::current_exe().unwrap()).args(arguments).env(ALONE, "1").output();
    let run = run.unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && told.contains("1 passed"), "{told}");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Waits until the relay is as it was.
async fn settles(relay: &mut RelayProcess, before: Vitals) {
    let settling = async {
        loop {
            let now = relay.vitals().await;
            if (now.connections, now.tasks, now.descriptors) == (before.connections, before.tasks, before.descriptors) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    settling.soon().await;
}

#[tokio::test]
async fn a_relay_whose_peers_vanish_keeps_nothing_of_them() {
    for tls in [false, true] {
        let mut relay = RelayProcess::start(RELAY, tls).await;
        let before = relay.vitals().await;
        for way in 0..4 {
            let mut control = relay.listen().await;
            let mut pairs = Vec::new();
            for _ in 0..10 {
                pairs.push(relay.pair(&mut control).await);
            }
            for (mut sender, mut accepted) in pairs {
                sender.send(&text("data on its way")).await;
                match way {
                    0 => sender.reset(),
                    1 => accepted.reset(),
                    2 => drop(sender),
                    _ => {
                        sender.send_close(Some(1000), "").await;
                        accepted.send_close(Some(1000), "").await;
                    }
                }
            }
            // Senders that wait, listeners that never come, sockets that never speak.
            let mut waiting = relay.door.open().await;
            relay.websocket("/$hc/hyco").write(&relay.door, &mut waiting).await;
            control.invitation().await;
            let silent = relay.door.open().await;
            control.ws.reset();
            drop((waiting, silent));
            settles(&mut relay, before).await;
        }
    }
}

#[tokio::test]
async fn a_relay_whose_stalled_peers_vanish_keeps_nothing_of_them() {
    for tls in [false, true] {
        let mut relay = RelayProcess::start(RELAY, tls).await;
        relay.door = relay.door.with_kernel_buffers(8 * 1024);
        let before = relay.vitals().await;
        for listener_first in [false, true] {
            let mut control = relay.listen().await;
            let mut pairs = Vec::new();
            for _ in 0..5 {
                pairs.push(relay.pair(&mut control).await);
            }
            // Neither side takes what the other says; then one vanishes, and the other.
            for (sender, accepted) in peers::stall(pairs).await {
                let (first, second) = if listener_first { (accepted, sender) } else { (sender, accepted) };
                first.reset();
                relay.vitals().await;
                second.reset();
            }
            control.ws.reset();
            settles(&mut relay, before).await;
        }
    }
}

#[test]
fn a_program_that_lets_go_of_everything_keeps_nothing() {
    alone("leaks::a_program_that_lets_go_of_everything_keeps_nothing", async {
        for tls in [false, true] {
            let relay = RelayProcess::start(RELAY, tls).await;
            let before = (descriptors(), tasks());
            for way in 0..6 {
                let listener = relay.listener().soon().await.unwrap();
                let sender = relay.sender().build().unwrap();
                let mut pairs = Vec::new();
                for _ in 0..5 {
                    pairs.push(setup::meet(&sender, &listener).await);
                }
                for (connection, accepted) in pairs {
                    connection.send(vec![1; 1000]).soon().await.unwrap();
                    match way {
                        0 => connection.abort(),
                        1 => drop(connection.into_stream().unwrap()),
                        2 => {
                            let (one, other) = tokio::join!(connection.close().soon(), accepted.close().soon());
                            one.unwrap();
                            other.unwrap();
                        }
                        3 => {
                            // Half-closed and forgotten.
                            connection.shutdown().soon().await.unwrap();
                            drop((connection, accepted));
                        }
                        4 => drop(connection.split().0),
                        _ => drop(accepted.close_with(3000, "closed and forgotten").soon()),
                    }
                }
                // One that waits and is forgotten, by either side.
                let mut connecting = Box::pin(sender.connect().open());
                let incoming = tokio::select! {
                    incoming = setup::incoming(&listener) => incoming,
                    _ = &mut connecting => panic!("nobody has answered"),
                };
                if way % 2 == 0 {
                    drop(connecting);
                    drop(incoming);
                } else {
                    drop(incoming);
                    connecting.soon().await.unwrap_err();
                }
                if way < 3 {
                    listener.close().soon().await;
                }
                drop((listener, sender));
                setup::until(|| (descriptors(), tasks()) == before).await;
            }
        }
    });
}

#[test]
fn a_relay_that_is_killed_leaves_nothing_in_its_clients() {
    alone("leaks::a_relay_that_is_killed_leaves_nothing_in_its_clients", async {
        let before = (descriptors(), tasks());
        for tls in [false, true] {
            let relay = RelayProcess::start(RELAY, tls).await;
            let listener = relay.listener().reconnect(false).soon().await.unwrap();
            let sender = relay.sender().build().unwrap();
            let (connection, accepted) = setup::meet(&sender, &listener).await;
            relay.kill().await;
            for end in [&connection, &accepted] {
                assert_eq!(end.receive().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
            }
            assert_eq!(listener.accept().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
            assert_eq!(sender.connect().soon().await.unwrap_err().kind(), ErrorKind::Network);
            // The handles are still there; what they stood for is not.
            setup::until(|| descriptors() == before.0).await;
            drop((listener, sender, connection, accepted));
            setup::until(|| (descriptors(), tasks()) == before).await;
        }
    });
}
