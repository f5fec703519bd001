//! Back-pressure and silence.

use hybridrelay::ws::OpCode;

use super::*;

/// Writes binary frames until the socket takes nothing for a second; returns how many bytes it took.
async fn fill(peer: &mut Peer, sim: &Sim) -> usize {
    let frame = masked(true, OpCode::Binary, &[7; 10_000]);
    let stream: Vec<u8> = frame.iter().copied().cycle().take(frame.len() * 100).collect();
    let mut taken = 0;
    while let Some(written) = sim.env("relay").timeout(SECOND, peer.0.write(&stream[taken..])).await {
        taken += written.expect("the pump reads");
        assert!(taken < stream.len(), "somebody takes everything");
    }
    taken
}

#[test]
fn a_side_that_never_reads_costs_the_relay_at_most_128_kib_in_each_direction() {
    play(async |sim, Running { mut sender, mut listener, .. }| {
        let begun = pool::leased::count();
        let up = fill(&mut sender, &sim).await;
        let held = up - 2 * WINDOW;
        assert!(held > 0 && held <= 128 * 1024, "{held} bytes of {up}");
        assert_eq!(pool::leased::count() - begun, 1, "one buffer is held");

        let down = fill(&mut listener, &sim).await;
        let held = down - 2 * WINDOW;
        assert!(held > 0 && held <= 128 * 1024, "{held} bytes of {down}");
        assert_eq!(pool::leased::count() - begun, 2, "one buffer for each direction is held");

        // Reading sets it going again, and the buffers come back.
        let mut received = 0;
        for _ in 0..up / masked(true, OpCode::Binary, &[7; 10_000]).len() {
            received += listener.frame().await.payload.len();
        }
        assert!(received > 2 * WINDOW);
        assert_eq!(pool::leased::count() - begun, 1);
    });
}

#[test]
fn an_idle_pair_holds_no_buffer() {
    play(async |sim, Running { mut sender, mut listener, .. }| {
        sender.text("hello").await;
        listener.expect(OpCode::Text, "hello").await;
        sim.sleep(SECOND).await;
        assert_eq!(pool::leased::count(), 0);
    });
}

#[test]
fn a_silent_side_is_pinged_after_60_s_and_gone_after_150_s() {
    for party in [Party::Sender, Party::Listener] {
        play(async |sim, Running { sender, listener, pump, .. }| {
            let (mut silent, mut living) = match party {
                Party::Sender => (sender, listener),
                Party::Listener => (listener, sender),
            };
            // It answers for a while.
            let falling_silent = async {
                for number in 1..=3 {
                    silent.expect(OpCode::Ping, "").await;
                    assert_eq!(sim.elapsed(), number * 60 * SECOND);
                    silent.send(true, OpCode::Pong, b"").await;
                }
                silent.expect(OpCode::Ping, "").await;
                silent.expect_reset().await;
            };
            // The other only answers as well, and that is nothing for the first.
            let answering = async {
                while let Ok(frame) = living.try_frame().await {
                    assert_eq!(frame.opcode, OpCode::Ping);
                    living.send(true, OpCode::Pong, b"").await;
                }
            };
            tokio::join!(falling_silent, answering);
            assert_eq!(sim.elapsed(), (3 * 60 + 150) * SECOND);
            assert_eq!(ended(pump).await, Ended::Silent(party));
        });
    }
}

#[test]
fn a_part_of_a_frame_is_life() {
    play(async |sim, Running { mut sender, mut listener, pump, .. }| {
        let frame = masked(true, OpCode::Binary, &[7; 20]);
        let answering = async {
            loop {
                if listener.frame().await.opcode == OpCode::Ping {
                    listener.send(true, OpCode::Pong, b"").await;
                } else {
                    return;
                }
            }
        };
        let trickling = async {
            for byte in &frame {
                sim.sleep(59 * SECOND).await;
                sender.write(&[*byte]).await;
            }
        };
        tokio::join!(trickling, answering);
        assert!(!pump.is_finished());
        sender.expect_silence(&sim).await;
    });
}

#[test]
fn a_stalled_side_is_never_gone_and_hears_from_the_relay_every_minute() {
    play(async |sim, Running { mut sender, mut listener, pump, .. }| {
        let taken = fill(&mut sender, &sim).await;
        let begun = sim.elapsed();
        for number in 1..=10u32 {
            sender.expect(OpCode::Ping, "").await;
            let at = sim.elapsed() - begun;
            assert!(at <= number * 60 * SECOND && at + 2 * SECOND >= number * 60 * SECOND, "{number}: {at:?}");
        }
        assert!(!pump.is_finished());
        let mut received = 0;
        for _ in 0..taken / masked(true, OpCode::Binary, &[7; 10_000]).len() {
            received += listener.frame().await.payload.len();
        }
        assert!(received > 0, "nothing was lost");
    });
}

#[test]
fn a_stalled_side_that_was_told_close_is_told_nothing_more() {
    play(async |sim, Running { mut sender, mut listener, .. }| {
        listener.close(1000, "").await;
        sender.expect_close(1000).await;
        fill(&mut sender, &sim).await;
        let silence = sim.env("relay").timeout(600 * SECOND, sender.0.read_u8()).await;
        assert!(silence.is_none(), "{silence:?}");
    });
}
