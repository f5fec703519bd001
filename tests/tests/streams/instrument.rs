//! What a test can do to its relay: move its clock, have it refuse, hold connections up and cut them.

use std::time::Duration;

use futures_util::future::poll_immediate;
use hybridrelay::{ErrorKind, Listener, Message, Status};
use hybridrelay_relay::{Attempt, LocalRelay, NextRefusal, OpenConnection, Operation};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, RawEnds, RawListener};
use hybridrelay_tests::wire::raw::{Door, Seen, binary, op};
use hybridrelay_tests::wire::setup::{self, Ends, HYCO};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// The one control channel.
fn control(relay: &LocalRelay) -> OpenConnection {
    let open = relay.control_channels();
    assert_eq!(open.len(), 1, "{open:?}");
    open[0].clone()
}

/// Lets time pass at the relay, and with whoever lives by its clock, until something has happened.
async fn while_time_passes<T: Send>(relay: &LocalRelay, happened: impl Future<Output = T> + Send) -> T {
    let passing = async {
        loop {
            relay.advance(SECOND);
            tokio::task::yield_now().await;
        }
    };
    let happening = async {
        tokio::select! {
            happened = happened => happened,
            () = passing => unreachable!("time has no end"),
        }
    };
    happening.soon().await
}

/// The one relayed connection.
fn only(relay: &LocalRelay) -> OpenConnection {
    let open = relay.open_connections();
    assert_eq!(open.len(), 1, "{open:?}");
    open[0].clone()
}

#[tokio::test]
async fn whoever_comes_next_is_refused_and_nobody_after() {
    for relay in setup::plain_and_tls().await {
        relay.refuse_next(403).unwrap();
        let error = setup::listener(&relay, HYCO).soon().await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Unauthorized, Some(403)), "{error:?}");
        assert!(
            error.reason().is_some_and(|reason| reason.starts_with("The test refuses this. TrackingId:")),
            "{error}"
        );
        let listener = setup::listener(&relay, HYCO).soon().await.expect("only one was refused");

        let sender = setup::sender(&relay, HYCO).build().unwrap();
        for (status, kind) in [(503, ErrorKind::ServerBusy), (429, ErrorKind::ServerBusy), (404, ErrorKind::Rejected)] {
            relay.refuse_next(NextRefusal::new(status).because("go away")).unwrap();
            let error = sender.connect().soon().await.unwrap_err();
            assert_eq!((error.kind(), error.status()), (kind, Some(status)), "{error:?}");
            assert!(error.reason().is_some_and(|reason| reason.starts_with("go away")), "{error}");
        }
        relay.refuse_next(404).unwrap();
        let error = sender.connect().soon().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EndpointNotFound, "the relay's own words: {error:?}");
        setup::meet(&sender, &listener).await;
    }
}

#[tokio::test]
async fn a_refusal_waits_for_whom_it_is_meant_for() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    relay.refuse_next(NextRefusal::new(502).of(Attempt::Request)).unwrap();
    relay.refuse_next(NextRefusal::new(418).of(Attempt::Connect)).unwrap();
    let _control = RawListener::open(&relay).await;
    let refused = peers::connect(&relay, "").send(&door).await;
    assert_eq!(refused.status, 418, "the listener has passed");
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let request = http::Request::get("/").body(hybridrelay::Body::empty()).unwrap();
    let error = sender.request(request).soon().await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Rejected, Some(502)), "{error:?}");
}

#[tokio::test]
async fn a_refusal_says_when_to_come_again_if_it_is_told_to() {
    let relay = setup::plain().await;
    let _listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    for (wait, told) in [
        (None, None),
        (Some(7 * SECOND), Some(7 * SECOND)),
        (Some(Duration::from_millis(1_001)), Some(2 * SECOND)),
        (Some(Duration::ZERO), Some(SECOND)),
        (Some(Duration::MAX), Some(Duration::from_secs(u64::MAX))),
    ] {
        let refuse = |attempt| {
            let next = NextRefusal::new(503).of(attempt);
            relay.refuse_next(wait.into_iter().fold(next, NextRefusal::retry_after)).unwrap();
        };
        refuse(Attempt::Connect);
        let error = sender.connect().soon().await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::ServerBusy, told), "{error:?}");
        refuse(Attempt::Request);
        let request = http::Request::get("/").body(hybridrelay::Body::empty()).unwrap();
        let error = sender.request(request).soon().await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::ServerBusy, told), "{error:?}");
        refuse(Attempt::Listen);
        let error = setup::listener(&relay, "other").soon().await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::ServerBusy, told), "{error:?}");
    }
}

#[tokio::test]
async fn a_listener_comes_again_when_the_refusal_told_it_to() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).env(relay.env().clone()).soon().await.unwrap();
    let mut status = listener.status();
    let refusal = NextRefusal::new(503).of(Attempt::Listen).retry_after(200 * SECOND);
    relay.refuse_next(refusal).unwrap();
    assert_eq!(relay.drop_control(HYCO), 1);
    let wait = async {
        loop {
            match status.changed().await {
                Some(Status::Offline { error, retry_in }) if error.status() == Some(503) => break retry_in,
                Some(_) => {}
                None => panic!("the listener has ended"),
            }
        }
    };
    assert_eq!(wait.soon().await, Some(200 * SECOND));
    relay.advance(200 * SECOND);
    relay.watch_listeners(HYCO).wait_for(|online| *online == 1).soon().await.unwrap();
}

#[tokio::test]
async fn only_a_refusal_can_be_ordered() {
    let relay = setup::plain().await;
    for status in [0, 101, 200, 302, 399, 600, u16::MAX] {
        let error = relay.refuse_next(status).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(&format!("not with {status}")), "{error}");
    }
    setup::listener(&relay, HYCO).soon().await.expect("nothing was ordered");
}

#[tokio::test]
async fn a_token_expires_without_waiting() {
    let relay = setup::plain().await;
    let mut control = RawListener::open(&relay).await;
    // The peer's token is good for an hour, and a channel has five minutes more.
    relay.advance(HOUR + 301 * SECOND);
    let (code, reason) = control.ws.close().await;
    assert_eq!(code, Some(1008), "{reason}");
    assert!(reason.starts_with("ExpiredToken"), "{reason}");
    let refused = peers::connect(&relay, "").send(&Door::from(&relay)).await;
    assert_eq!(refused.status, 401, "the peer's clock has not moved, so that its new token is as old");
}

#[tokio::test]
async fn a_listener_that_lives_by_the_same_clock_renews_its_token() {
    let relay = setup::plain().await;
    let mut events = relay.events();
    let listener = setup::listener(&relay, HYCO).env(relay.env().clone()).soon().await.unwrap();
    for _ in 0..3 {
        relay.advance(HOUR);
        let renewed = async {
            // A leap of an hour is none that a Ping outlasts: it may come back instead.
            while let Some(event) = events.next().await {
                if matches!(event.operation, Operation::TokenRenewed | Operation::NewListenerRegistered) {
                    return;
                }
            }
            panic!("the relay has ended");
        };
        renewed.soon().await;
    }
    let sender = setup::sender(&relay, HYCO).env(relay.env().clone()).build().unwrap();
    setup::meet(&sender, &listener).await;
}

#[tokio::test]
async fn a_sender_waits_no_longer_and_its_ticket_is_void() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let mut control = RawListener::open(&relay).await;
    let (refused, invitation) = tokio::join!(peers::connect(&relay, "").send(&door), async {
        let invitation = control.invitation().await;
        relay.advance(30 * SECOND);
        invitation
    });
    assert_eq!(refused.status, 504);
    assert_eq!(invitation.dial().await.status, 403, "the rendezvous address is void");
}

#[tokio::test]
async fn a_listener_is_asked_however_far_the_leap_was_and_cut_if_it_does_not_answer() {
    let relay = setup::plain().await;
    let mut control = RawListener::open(&relay).await;
    for leap in [30 * SECOND, 50 * 60 * SECOND] {
        relay.advance(leap);
        let ping = control.ws.frame().await;
        assert_eq!(ping.opcode, op::PING);
        control.ws.send(&hybridrelay_tests::wire::raw::frame(0x80 | op::PONG, &ping.payload)).await;
        // The relay has heard it when it has answered.
        control.ws.send(&hybridrelay_tests::wire::raw::ping(b"?")).await;
        assert_eq!(control.ws.frame().await.opcode, op::PONG);
    }
    relay.advance(30 * SECOND);
    assert_eq!(control.ws.frame().await.opcode, op::PING);
    relay.advance(45 * SECOND);
    assert_eq!(control.ws.next().await, Seen::Reset);
}

#[tokio::test]
async fn both_ends_of_a_connection_are_asked_and_cut_if_one_does_not_answer() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, control: _control } = peers::raw_ends(&relay).await;
        relay.advance(10 * 60 * SECOND);
        for end in [&mut sender, &mut accepted] {
            assert_eq!(end.frame().await.opcode, op::PING);
        }
        relay.advance(90 * SECOND);
        assert_eq!(sender.next().await, Seen::Reset);
        assert_eq!(accepted.next().await, Seen::Reset);
    }
}

#[tokio::test]
async fn a_stalled_connection_moves_no_byte_until_it_goes_on() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        let stalled = only(&relay);
        assert!(!stalled.stalled && stalled.entity.path() == HYCO, "{stalled:?}");
        assert!(relay.stall(stalled.id));
        sender.send("to the listener").soon().await.unwrap();
        accepted.send("to the sender").soon().await.unwrap();

        // Another connection does not notice, and what it moves takes longer than what is held up would.
        let other = setup::sender(&relay, HYCO).build().unwrap();
        let (mut there, mut back) = setup::meet(&other, &listener).await;
        for _ in 0..10 {
            there.send("on").soon().await.unwrap();
            back.receive().soon().await.unwrap();
            std::mem::swap(&mut there, &mut back);
        }
        assert!(poll_immediate(std::pin::pin!(accepted.receive())).await.is_none(), "nothing has come");
        assert!(poll_immediate(std::pin::pin!(sender.receive())).await.is_none(), "nothing has come");
        let held = &relay.open_connections()[0];
        assert!(held.stalled && (held.from_sender, held.from_listener) == (0, 0), "{held:?}");

        assert!(relay.resume(stalled.id));
        assert_eq!(accepted.receive().soon().await.unwrap(), Some(Message::from("to the listener")));
        assert_eq!(sender.receive().soon().await.unwrap(), Some(Message::from("to the sender")));
        let open = &relay.open_connections()[0];
        assert!(!open.stalled && open.from_sender > 15 && open.from_listener > 13, "{open:?}");
    }
}

#[tokio::test]
async fn the_next_connection_is_cut_after_so_many_bytes() {
    for relay in setup::plain_and_tls().await {
        relay.cut_next_after(1_000);
        let RawEnds { mut sender, mut accepted, control } = peers::raw_ends(&relay).await;
        // 6 bytes of header and 94 of payload, ten times.
        for number in 0..10 {
            sender.send(&binary(&[number; 94])).await;
            if number < 9 {
                assert_eq!(accepted.frame().await.payload, [number; 94]);
            }
        }
        assert_eq!(sender.next().await, Seen::Reset);
        // The last one may be overtaken.
        if let Seen::Frame(frame) = accepted.next().await {
            assert_eq!(frame.payload, [9; 94]);
            assert_eq!(accepted.next().await, Seen::Reset);
        }
        setup::no_connection(&relay).await;
        assert!(relay.open_connections().is_empty());
        drop(control);
        let Ends { sender, accepted, listener: _listener } = setup::ends(&relay).await;
        sender.send(vec![7; 5_000]).soon().await.unwrap();
        assert_eq!(accepted.receive().soon().await.unwrap().map(|message| message.into_bytes().len()), Some(5_000));
    }
}

#[tokio::test]
async fn a_connection_is_cut_at_once_also_while_nothing_moves() {
    for stalled in [false, true] {
        let relay = setup::plain().await;
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        let other = setup::sender(&relay, HYCO).build().unwrap();
        let (there, back) = setup::meet(&other, &listener).await;
        let id = relay.open_connections()[0].id;
        if stalled {
            assert!(relay.stall(id));
        }
        assert!(relay.cut_after(id, 0));
        for end in [sender, accepted] {
            let error = end.receive().soon().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error:?}");
        }
        there.send("still there").soon().await.unwrap();
        assert_eq!(back.receive().soon().await.unwrap(), Some(Message::from("still there")));
        assert_ne!(only(&relay).id, id);
        assert!(!relay.stall(id) && !relay.resume(id) && !relay.cut_after(id, 0), "it has ended");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_reads_is_cut_as_well() {
    let relay = setup::plain().await;
    let Ends { sender, accepted, listener: _listener } = setup::ends(&relay).await;
    setup::fill(&sender).await;
    assert!(relay.cut_after(only(&relay).id, 0));
    setup::no_connection(&relay).await;
    assert_eq!(sender.receive().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    drop(accepted);
}

#[tokio::test]
async fn a_listener_whose_control_channel_is_stalled_notices_and_comes_back() {
    for relay in setup::plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).env(relay.env().clone()).soon().await.unwrap();
        let mut status = listener.status();
        let stalled = control(&relay);
        assert!(!stalled.stalled && stalled.entity.path() == HYCO && stalled.method.is_none(), "{stalled:?}");
        assert!(relay.open_connections().is_empty(), "nothing is relayed");
        assert!(relay.stall(stalled.id) && control(&relay).stalled);

        let lost = async {
            loop {
                match status.changed().await {
                    Some(Status::Offline { error, .. }) => break error,
                    Some(_) => {}
                    None => panic!("the listener has ended"),
                }
            }
        };
        let error = while_time_passes(&relay, lost).await;
        assert_eq!((error.kind(), error.close_code()), (ErrorKind::ConnectionLost, None), "{error:?}");
        while !status.changed().soon().await.expect("the listener goes on").is_online() {}
        // The relay sees the end of the old channel, which waits there.
        relay.resume(stalled.id);
        relay.watch_listeners(HYCO).wait_for(|online| *online == 1).soon().await.unwrap();
        setup::until(|| relay.control_channels().len() == 1).await;
        let now = control(&relay);
        assert!(now.id != stalled.id && !now.stalled && !relay.stall(stalled.id), "{now:?}");
        setup::meet(&setup::sender(&relay, HYCO).build().unwrap(), &listener).await;
    }
}

#[tokio::test]
async fn a_relay_gives_up_a_listener_whose_control_channel_is_stalled() {
    let relay = setup::plain().await;
    let mut listener = RawListener::open(&relay).await;
    assert!(relay.stall(control(&relay).id));
    assert_eq!(while_time_passes(&relay, listener.ws.next()).await, Seen::Reset, "not even a Ping has come");
    relay.watch_listeners(HYCO).wait_for(|online| *online == 0).soon().await.unwrap();
    setup::until(|| relay.control_channels().is_empty()).await;
}

#[tokio::test]
async fn what_waits_at_a_stalled_control_channel_comes_when_it_goes_on() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let (id, mut events) = (control(&relay).id, relay.events());
    assert!(relay.stall(id));
    let connecting = tokio::spawn(async move { sender.connect().await });
    // The relay has written it, or has begun to.
    while events.next().soon().await.expect("the relay runs").operation != Operation::MessageSentToListener {}
    assert!(poll_immediate(std::pin::pin!(listener.accept())).await.is_none(), "nothing has come");
    assert!(relay.resume(id));
    let accepted = setup::incoming(&listener).await.accept().soon().await.unwrap();
    let there = connecting.soon().await.unwrap().unwrap();
    there.send("late").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some(Message::from("late")));
    assert_eq!(control(&relay).id, id, "nobody has lost the other");
}

#[tokio::test]
async fn a_listener_whose_control_channel_is_cut_comes_back_and_keeps_its_connections() {
    for stalled in [false, true] {
        let relay = setup::plain().await;
        let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        let (there, back) = setup::meet(&sender, &listener).await;
        let cut = control(&relay);
        let mut events = relay.events();
        assert!(!stalled || relay.stall(cut.id));
        assert!(relay.cut_after(cut.id, 0));
        while events.next().soon().await.expect("the relay runs").operation != Operation::NewListenerRegistered {}
        relay.watch_listeners(HYCO).wait_for(|online| *online == 1).soon().await.unwrap();
        setup::until(|| relay.control_channels().len() == 1).await;
        assert!(control(&relay).id != cut.id && !relay.stall(cut.id) && !relay.cut_after(cut.id, 0), "it has ended");
        setup::meet(&sender, &listener).await;
        there.send("as before").soon().await.unwrap();
        assert_eq!(back.receive().soon().await.unwrap(), Some(Message::from("as before")));
    }
}

#[tokio::test]
async fn a_control_channel_is_cut_after_so_many_bytes_of_the_listener() {
    let relay = setup::plain().await;
    relay.cut_next_after(1);
    let mut listener = RawListener::open(&relay).await;
    let channel = control(&relay);
    assert!(relay.cut_after(channel.id, 12));
    // 6 bytes of header, each; the limit for what is relayed next is not for control channels.
    let ping = hybridrelay_tests::wire::raw::ping(b"");
    listener.ws.send(&ping).await;
    assert_eq!(listener.ws.frame().await.opcode, op::PONG);
    assert_eq!(control(&relay).from_listener, 6);
    listener.ws.send(&ping).await;
    let mut seen = listener.ws.next().await;
    if let Seen::Frame(frame) = seen {
        // The last answer may have left before.
        assert_eq!(frame.opcode, op::PONG);
        seen = listener.ws.next().await;
    }
    assert_eq!(seen, Seen::Reset);
}

#[tokio::test]
async fn a_listener_survives_a_leap_and_its_connections_too() {
    let relay = setup::plain().await;
    let listener: Listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let (there, back) = setup::meet(&sender, &listener).await;
    let mut events = relay.events();
    relay.advance(50 * 60 * SECOND);
    there.send("after the leap").soon().await.unwrap();
    assert_eq!(back.receive().soon().await.unwrap(), Some(Message::from("after the leap")));
    setup::meet(&sender, &listener).await;
    while let Some(Some(event)) = poll_immediate(std::pin::pin!(events.next())).await {
        assert_ne!(event.operation, Operation::ListenerUnregistered, "{event:?}");
    }
}
