//! What is sent arrives, whole and in order.

use futures_util::FutureExt;
use hybridrelay::{Connection, ErrorKind, Message};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers;
use hybridrelay_tests::wire::raw::{binary, frame, op, ping};
use hybridrelay_tests::wire::setup::{self, Ends, HYCO};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Lengths around every border of the wire: header forms, buffers, the longest whole frame.
const LENGTHS: [usize; 14] =
    [0, 1, 125, 126, 127, 2048, 2049, 16_384, 16_385, 65_535, 65_536, 65_537, 1 << 20, (4 << 20) + 7];

/// Bytes that differ from offset to offset and from message to message.
fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed.wrapping_mul(131)) as u8).collect()
}

#[tokio::test]
async fn text_binary_and_empty_messages_arrive_as_what_they_are_both_ways() {
    let messages =
        [Message::from("hello"), Message::from(b"world"), "".into(), b"".into(), "ü€😀".into(), bytes(1, 300).into()];
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        for (from, to) in [(&sender, &accepted), (&accepted, &sender)] {
            for message in &messages {
                from.send(message.clone()).soon().await.unwrap();
            }
            for message in &messages {
                assert_eq!(to.receive().soon().await.unwrap().as_ref(), Some(message));
            }
        }
    }
}

#[tokio::test]
async fn messages_of_every_length_keep_their_boundaries() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        for (from, to) in [(&sender, &accepted), (&accepted, &sender)] {
            let sending = async {
                for (seed, len) in LENGTHS.into_iter().enumerate() {
                    from.send(bytes(seed, len)).soon().await.unwrap();
                }
            };
            let receiving = async {
                for (seed, len) in LENGTHS.into_iter().enumerate() {
                    let message = to.receive().soon().await.unwrap().expect("a message");
                    assert!(message == bytes(seed, len).into(), "the message of {len} bytes came as {}", message.len());
                }
            };
            tokio::join!(sending, receiving);
        }
    }
}

#[tokio::test]
async fn sixteen_mebibytes_travel_both_ways_at_once() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        let (there, back) = (bytes(1, 16 << 20), bytes(2, 16 << 20));
        let (_, _, received, answered) = tokio::join!(
            async { sender.send(there.clone()).soon().await.unwrap() },
            async { accepted.send(back.clone()).soon().await.unwrap() },
            accepted.receive().soon(),
            sender.receive().soon(),
        );
        assert!(received.unwrap() == Some(there.into()));
        assert!(answered.unwrap() == Some(back.into()));
    }
}

#[tokio::test]
async fn a_message_sent_in_fragments_with_pings_between_arrives_as_one() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let (mut sender, accepted) = peers::raw_sender(&relay, &listener).await;
    sender.send(&frame(op::TEXT, "grü".as_bytes().split_last().unwrap().1)).await;
    sender.send(&ping(b"are you there")).await;
    sender.send(&frame(op::CONTINUATION, b"")).await;
    sender.send(&frame(op::CONTINUATION, &"grü".as_bytes()[3..])).await;
    sender.send(&frame(0x80 | op::CONTINUATION, b"n")).await;
    assert_eq!(accepted.receive().soon().await.unwrap(), Some("grün".into()));
}

#[tokio::test]
async fn a_message_over_the_limit_is_an_error_and_the_peer_is_told() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).max_message_size(1000).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let (sender, accepted) = setup::meet(&sender, &listener).await;
    sender.send(vec![1; 1000]).soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap().map(|message| message.len()), Some(1000));
    sender.send(vec![1; 1001]).soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap_err().kind(), ErrorKind::MessageTooLarge);
    assert_eq!(sender.receive().soon().await.unwrap(), None);
    assert_eq!(sender.peer_close().flatten().map(|close| close.code), Some(1009));
    assert_eq!(accepted.send("late").soon().await.unwrap_err().kind(), ErrorKind::MessageTooLarge);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_an_error_and_the_peer_is_told() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let (mut sender, accepted) = peers::raw_sender(&relay, &listener).await;
    sender.send(&frame(0x80 | op::TEXT, b"fine, then \xFF")).await;
    assert_eq!(accepted.receive().soon().await.unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(sender.close().await.0, Some(1007));
}

#[tokio::test]
async fn a_byte_stream_carries_bytes_and_an_end_both_ways() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        let echo = async {
            let (mut reader, mut writer) = tokio::io::split(accepted.into_stream().unwrap());
            let echoed = tokio::io::copy(&mut reader, &mut writer).soon().await.unwrap();
            writer.shutdown().soon().await.unwrap();
            echoed
        };
        let sent = bytes(5, 3 << 20);
        let (mut reader, mut writer) = tokio::io::split(sender.into_stream().unwrap());
        let writing = async {
            writer.write_all(&sent).soon().await.unwrap();
            writer.shutdown().soon().await.unwrap();
        };
        let mut received = Vec::new();
        let (echoed, (), read) = tokio::join!(echo, writing, reader.read_to_end(&mut received).soon());
        assert_eq!((echoed, read.unwrap()), (3 << 20, 3 << 20));
        assert!(received == sent);
    }
}

#[tokio::test]
async fn message_calls_fail_once_the_connection_is_a_byte_stream() {
    let relay = setup::plain().await;
    let Ends { sender, accepted, .. } = setup::ends(&relay).await;
    let other = sender.clone();
    let mut stream = sender.into_stream().unwrap();
    assert_eq!(other.send("x").soon().await.unwrap_err().kind(), ErrorKind::StreamInUse);
    assert_eq!(other.receive().soon().await.unwrap_err().kind(), ErrorKind::StreamInUse);
    assert_eq!(other.into_stream().unwrap_err().kind(), ErrorKind::StreamInUse);
    stream.write_all(b"still works").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some(b"still works".into()));
}

#[tokio::test]
async fn a_byte_stream_begins_with_what_a_cancelled_receive_has_read() {
    let relay = setup::plain().await;
    let (sender, mut accepted, _control) = peers::raw_accepted(&relay).await;
    // What comes together is taken in together, so after the whole message the fragment has been read as well.
    accepted.send(&[binary(b"whole"), frame(op::BINARY, b"first, ")].concat()).await;
    assert_eq!(sender.receive().soon().await.unwrap(), Some(b"whole".into()));
    assert!(sender.receive().now_or_never().is_none(), "half a message is no message");
    accepted.send(&[frame(0x80 | op::CONTINUATION, b"second, "), binary(b""), binary(b"third")].concat()).await;
    let mut stream = sender.into_stream().unwrap();
    let mut read = vec![0; 20];
    stream.read_exact(&mut read).soon().await.unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), "first, second, third");
}

#[tokio::test]
async fn the_two_halves_work_in_different_tasks() {
    let relay = setup::plain().await;
    let Ends { sender, accepted, .. } = setup::ends(&relay).await;
    let (reader, writer) = sender.split();
    let writing = tokio::spawn(async move {
        for number in 0..1000 {
            writer.send(format!("{number}")).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let reading = tokio::spawn(async move {
        let mut seen = 0;
        while let Some(message) = reader.receive().await.unwrap() {
            assert_eq!(message.as_text(), Some(format!("{seen}").as_str()));
            seen += 1;
        }
        (seen, reader.peer_close())
    });
    while let Some(message) = accepted.receive().soon().await.unwrap() {
        accepted.send(message).soon().await.unwrap();
    }
    accepted.close_with(3001, "enough").soon().await.unwrap();
    writing.soon().await.unwrap();
    let (seen, close) = reading.soon().await.unwrap();
    assert_eq!((seen, close.flatten().unwrap().code), (1000, 3001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_connections_at_once_never_mix() {
    for relay in setup::plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        let echoing = tokio::spawn({
            let listener = listener.clone();
            async move {
                while let Some(hybridrelay::Incoming::Connect(connect)) = listener.accept().await.unwrap() {
                    tokio::spawn(async move { echo(connect.accept().await.unwrap()).await });
                }
            }
        });
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        let connections: Vec<_> = (0..50)
            .map(|seed| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let connection = sender.connect().await.unwrap();
                    for round in 0..10 {
                        let message = bytes(seed, 1 + seed * 97 + round * 3001);
                        connection.send(message.clone()).await.unwrap();
                        assert!(connection.receive().await.unwrap() == Some(message.into()), "{seed} got another's");
                    }
                    connection.close().await.unwrap();
                })
            })
            .collect();
        for connection in connections {
            connection.soon().await.unwrap();
        }
        listener.close().soon().await;
        echoing.soon().await.unwrap();
    }
}

async fn echo(connection: Connection) {
    while let Some(message) = connection.receive().await.unwrap() {
        connection.send(message).await.unwrap();
    }
    connection.close().await.unwrap();
}
