//! The simulation itself: its network behaves like TCP, and its clocks like clocks.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use hybridrelay::env::sim::{self, Sim};
use hybridrelay::env::{Acceptor, BoxSocket, Env};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What one direction holds.
const WINDOW: usize = 64 * 1024;

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(3600);

async fn hosts(sim: &Sim) -> (Env, Env, Box<dyn Acceptor>) {
    let (a, b) = (sim.env("a"), sim.env("b"));
    let acceptor = b.bind(([0, 0, 0, 0], 80).into()).await.expect("the port is free");
    (a, b, acceptor)
}

async fn connected(sim: &Sim) -> (BoxSocket, BoxSocket) {
    let (a, _, mut acceptor) = hosts(sim).await;
    let dialled = dial(&a).await.expect("b listens");
    (dialled, acceptor.accept().await.expect("a has dialled"))
}

async fn dial(env: &Env) -> std::io::Result<BoxSocket> {
    env.dial(env.resolve("b", 80).await?[0]).await
}

#[test]
fn bytes_arrive_in_order_and_then_the_end() {
    sim::run(1, async |sim| {
        let (mut a, mut b) = connected(&sim).await;
        a.write_all(b"one ").await.unwrap();
        a.write_all(b"two").await.unwrap();
        a.shutdown().await.unwrap();
        b.write_all(b"back").await.unwrap();
        let mut text = String::new();
        b.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one two");
        drop(b);
        text.clear();
        a.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "back");
        assert_eq!(a.write_all(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_writer_waits_when_nobody_reads() {
    sim::run(1, async |sim| {
        let (mut a, mut b) = connected(&sim).await;
        let env = sim.env("a");
        assert!(env.timeout(LONG, a.write_all(&[7; WINDOW + 1])).await.is_none());
        let mut read = vec![0; WINDOW];
        b.read_exact(&mut read).await.unwrap();
        assert!(read.iter().all(|byte| *byte == 7));
        a.write_all(&[8]).await.unwrap();
        assert_eq!(b.read_u8().await.unwrap(), 8);
    });
}

#[test]
fn an_abort_is_a_reset_and_takes_what_was_under_way() {
    sim::run(1, async |sim| {
        let (mut a, mut b) = connected(&sim).await;
        a.write_all(b"lost").await.unwrap();
        a.abort();
        drop(a);
        assert_eq!(b.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(b.write_all(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn closing_with_unread_bytes_is_a_reset_and_so_is_writing_to_a_closed_end() {
    sim::run(1, async |sim| {
        let (mut a, b) = connected(&sim).await;
        a.write_all(b"never read").await.unwrap();
        drop(b);
        assert_eq!(a.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    sim::run(1, async |sim| {
        let (mut a, b) = connected(&sim).await;
        drop(b);
        a.write_all(b"the first write does not know it yet").await.unwrap();
        assert_eq!(a.write_all(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn who_cannot_be_found_or_does_not_listen_is_told_apart() {
    sim::run(1, async |sim| {
        let (a, b, acceptor) = hosts(&sim).await;
        assert_eq!(a.resolve("nobody", 80).await.unwrap_err().kind(), ErrorKind::NotFound);
        let elsewhere = a.resolve("B", 81).await.unwrap()[0];
        assert_eq!(a.dial(elsewhere).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(b.bind(([0, 0, 0, 0], 80).into()).await.err().unwrap().kind(), ErrorKind::AddrInUse);

        sim.network().refuse("b", true);
        assert_eq!(dial(&a).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        sim.network().refuse("b", false);
        let mut waiting = dial(&a).await.unwrap();
        sim.network().hide("b", true);
        assert_eq!(dial(&a).await.err().unwrap().kind(), ErrorKind::NotFound);
        sim.network().hide("b", false);

        drop(acceptor);
        assert_eq!(waiting.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(dial(&a).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        assert!(b.bind(([0, 0, 0, 0], 80).into()).await.is_ok());
    });
}

#[test]
fn loopback_belongs_to_one_host() {
    sim::run(1, async |sim| {
        let (a, b) = (sim.env("a"), sim.env("b"));
        let mut acceptor = b.bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let local = acceptor.local_addr();
        assert_eq!(a.dial(local).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        let outside = a.resolve("b", local.port()).await.unwrap()[0];
        assert_eq!(a.dial(outside).await.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        let _dialled = b.dial(local).await.unwrap();
        assert!(acceptor.accept().await.unwrap().peer_addr().ip().is_loopback());
    });
}

#[test]
fn a_black_hole_tells_nobody_and_delivers_when_it_is_healed() {
    sim::run(1, async |sim| {
        let (mut a, mut b) = connected(&sim).await;
        let env = sim.env("a");
        sim.network().blackhole("a", "b");
        a.write_all(b"late").await.unwrap();
        a.shutdown().await.unwrap();
        assert!(env.timeout(LONG, b.read_u8()).await.is_none());
        assert!(env.timeout(LONG, dial(&env)).await.is_none());

        sim.network().heal("a", "b");
        let mut text = String::new();
        b.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "late");
    });
}

#[test]
fn an_end_that_went_away_in_a_black_hole_is_found_to_be_gone_when_it_is_healed() {
    for abort in [false, true] {
        sim::run(1, async |sim| {
            let (mut a, mut b) = connected(&sim).await;
            let env = sim.env("a");
            sim.network().blackhole("a", "b");
            if abort {
                a.abort();
            }
            drop(a);
            b.write_all(b"to nobody").await.unwrap();
            assert!(env.timeout(LONG, b.read_u8()).await.is_none());
            sim.network().heal("a", "b");
            assert_eq!(b.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        });
    }
}

#[test]
fn a_held_direction_looks_like_a_peer_that_does_not_read() {
    sim::run(1, async |sim| {
        let (mut a, mut b) = connected(&sim).await;
        let env = sim.env("a");
        sim.network().hold("a", "b");
        assert!(env.timeout(LONG, a.write_all(&[1; WINDOW + 1])).await.is_none());
        b.write_all(b"!").await.unwrap();
        assert_eq!(a.read_u8().await.unwrap(), b'!');
        sim.network().heal("a", "b");
        b.read_exact(&mut [0; WINDOW]).await.unwrap();
    });
}

#[test]
fn a_cut_resets_both_ends_and_leaves_new_connections_alone() {
    sim::run(1, async |sim| {
        let (a, _, mut acceptor) = hosts(&sim).await;
        let mut dialled = dial(&a).await.unwrap();
        let mut accepted = acceptor.accept().await.unwrap();
        dialled.write_all(b"lost").await.unwrap();
        sim.network().cut("b", "a");
        assert_eq!(dialled.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(accepted.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut again = dial(&a).await.unwrap();
        again.write_all(b"!").await.unwrap();
        assert_eq!(acceptor.accept().await.unwrap().read_u8().await.unwrap(), b'!');
    });
}

#[test]
fn a_stranded_connection_is_silent_for_ever_beside_new_ones() {
    sim::run(1, async |sim| {
        let (a, _, mut acceptor) = hosts(&sim).await;
        let mut stranded = dial(&a).await.unwrap();
        let mut accepted = acceptor.accept().await.unwrap();
        sim.network().strand("a", "b");
        sim.network().heal("a", "b");
        stranded.write_all(b"lost").await.unwrap();
        assert!(a.timeout(LONG, accepted.read_u8()).await.is_none());
        let mut again = dial(&a).await.unwrap();
        again.write_all(b"!").await.unwrap();
        assert_eq!(acceptor.accept().await.unwrap().read_u8().await.unwrap(), b'!');
    });
}

#[test]
fn latency_delays_bytes_ends_and_dials() {
    sim::run(1, async |sim| {
        sim.network().set_latency(Duration::from_millis(40));
        let (mut a, mut b) = connected(&sim).await;
        assert_eq!(sim.elapsed(), Duration::from_millis(80), "a handshake is a round trip");
        a.write_all(b"!").await.unwrap();
        sim.sleep(Duration::from_millis(10)).await;
        a.shutdown().await.unwrap();
        b.read_u8().await.unwrap();
        assert_eq!(sim.elapsed(), Duration::from_millis(120));
        assert_eq!(b.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(sim.elapsed(), Duration::from_millis(130));
    });
}

#[test]
fn wall_clocks_run_with_time_and_move_on_their_own() {
    sim::run(1, async |sim| {
        let (a, b) = (sim.env("a"), sim.env("b"));
        let before = a.wall_clock();
        assert_eq!(before, SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_847_300));
        sim.sleep(LONG).await;
        assert_eq!(a.wall_clock(), before + LONG);
        let monotonic = b.now();
        sim.move_wall_clock("b", -7200);
        assert_eq!(b.wall_clock(), before - LONG);
        sim.move_wall_clock("b", 7201);
        assert_eq!(b.wall_clock(), a.wall_clock() + Duration::from_secs(1));
        assert_eq!(b.now(), monotonic);
    });
}

#[test]
fn each_host_draws_its_own_randomness_from_the_seed() {
    let draw = |seed, host: &str| sim::run(seed, async |sim| sim.env(host).random::<32>());
    assert_eq!(draw(1, "a"), draw(1, "a"));
    assert_ne!(draw(1, "a"), draw(1, "b"));
    assert_ne!(draw(1, "a"), draw(2, "a"));
    sim::run(1, async |sim| {
        let env = sim.env("a");
        let first = env.random::<32>();
        assert_ne!(sim.env("A").random::<32>(), first, "the same host goes on in its stream");
    });
}

#[test]
#[should_panic(expected = "waits for something that never comes")]
fn a_scenario_that_hangs_fails() {
    sim::run(1, async |_| std::future::pending::<()>().await);
}

#[test]
#[should_panic(expected = "wakes itself for ever")]
fn a_task_that_spins_fails_the_scenario() {
    sim::run(1, async |sim| {
        sim.env("a").spawn(std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        }));
        sim.sleep(LONG).await;
    });
}
