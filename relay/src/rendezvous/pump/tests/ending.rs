//! The relay's own wish to end a pair.

use super::*;

fn drain(sim: &Sim, patience: Duration) -> Option<Ending> {
    let close = CloseFrame { code: 1001, reason: "going away".to_owned() };
    Some(Ending::Drain { close, until: sim.env("relay").now() + patience })
}

#[test]
fn a_drain_tells_both_sides_and_waits_for_their_closes() {
    play(async |sim, Running { mut sender, mut listener, pump, ending }| {
        ending.send_replace(drain(&sim, 30 * SECOND));
        for peer in [&mut sender, &mut listener] {
            assert_eq!(peer.expect_close(1001).await, "going away");
        }
        sim.sleep(10 * SECOND).await;
        assert!(!pump.is_finished());
        for peer in [&mut sender, &mut listener] {
            peer.close(1001, "").await;
            peer.expect_end().await;
        }
        drop((sender, listener));
        let begun = sim.elapsed();
        assert_eq!(ended(pump).await, Ended::Shutdown);
        assert_eq!(sim.elapsed(), begun);
    });
}

#[test]
fn a_drain_finishes_the_frame_that_is_under_way_and_takes_no_other() {
    play(async |sim, Running { mut sender, mut listener, pump, ending }| {
        let frame = masked(true, OpCode::Text, b"begun before");
        sender.write(&frame[..10]).await;
        sim.sleep(SECOND).await;
        ending.send_replace(drain(&sim, 30 * SECOND));
        sender.expect_close(1001).await;
        sim.sleep(SECOND).await;
        sender.write(&[&frame[10..], &masked(true, OpCode::Text, b"too late")].concat()).await;
        listener.expect(OpCode::Text, "begun before").await;
        listener.expect_close(1001).await;
        listener.expect_silence(&sim).await;
        drop((sender, listener));
        assert_eq!(ended(pump).await, Ended::Shutdown);
    });
}

#[test]
fn a_drain_closes_inside_a_long_frame_at_the_next_border() {
    play(async |sim, Running { mut sender, mut listener, pump, ending }| {
        let frame = masked(true, OpCode::Binary, &vec![7; 1 << 20]);
        sender.write(&frame[..10_000]).await;
        let first = listener.frame().await;
        assert_eq!((first.fin, first.opcode), (false, OpCode::Binary));
        ending.send_replace(drain(&sim, 30 * SECOND));
        listener.expect_close(1001).await;
        sender.expect_close(1001).await;
        drop((sender, listener));
        assert_eq!(ended(pump).await, Ended::Shutdown);
    });
}

#[test]
fn a_drain_aborts_what_does_not_end_in_time() {
    play(async |sim, Running { mut sender, mut listener, pump, ending }| {
        sender.write(&masked(true, OpCode::Text, b"never finished")[..10]).await;
        sim.sleep(SECOND).await;
        let begun = sim.elapsed();
        ending.send_replace(drain(&sim, 30 * SECOND));
        sender.expect_close(1001).await;
        assert_eq!(ended(pump).await, Ended::Shutdown);
        assert_eq!(sim.elapsed() - begun, 30 * SECOND);
        sender.expect_reset().await;
        listener.expect_reset().await;
    });
}

#[test]
fn a_cut_aborts_both_sides_at_once() {
    play(async |sim, Running { mut sender, mut listener, pump, ending }| {
        let begun = sim.elapsed();
        ending.send_replace(Some(Ending::Cut));
        sender.expect_reset().await;
        listener.expect_reset().await;
        assert_eq!(ended(pump).await, Ended::Shutdown);
        assert_eq!(sim.elapsed(), begun);
    });
}

#[test]
fn dropping_the_pump_aborts_both_sides() {
    play(async |_, Running { mut sender, mut listener, pump, .. }| {
        sender.text("hello").await;
        listener.expect(OpCode::Text, "hello").await;
        pump.abort();
        assert!(pump.await.unwrap_err().is_cancelled());
        sender.expect_reset().await;
        listener.expect_reset().await;
    });
}

#[test]
fn a_pair_outlives_whoever_could_have_ended_it() {
    play(async |sim, Running { mut sender, mut listener, ending, .. }| {
        drop(ending);
        sim.sleep(SECOND).await;
        sender.text("still here").await;
        listener.expect(OpCode::Text, "still here").await;
    });
}
