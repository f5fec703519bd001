//! Requests that two readers may read differently: one reading, or none.

use hybridrelay_tests::wire::raw::RawHttp;

use crate::common::World;

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_ends_the_connection() {
    let mut world = World::plain().await;
    let token = world.token.clone();
    let hidden = "GET /hyco/hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for (what, fields, body) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", "12345"),
        ("a list of lengths", "Content-Length: 5, 6\r\n", "12345"),
        ("a signed length", "Content-Length: +5\r\n", "12345"),
        ("a negative length", "Content-Length: -5\r\n", "12345"),
        ("a length that is none", "Content-Length: 0x5\r\n", "12345"),
        ("a length beyond numbers", "Content-Length: 99999999999999999999999\r\n", "12345"),
        ("a coding that is not chunked", "Transfer-Encoding: gzip\r\n", "12345"),
        ("chunked and then another", "Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
        ("a folded line", "X-A: 1\r\n 2\r\n", ""),
        ("a space before the colon", "X-A : 1\r\n", ""),
        ("a space before the colon of a length", "Content-Length : 5\r\n", "12345"),
        ("no colon", "X-A\r\n", ""),
        ("no name", ": x\r\n", ""),
        ("a control character in a value", "X-A: a\u{1}b\r\n", ""),
        ("a NUL in a value", "X-A: a\0b\r\n", ""),
        ("a bare CR in a value", "X-A: a\rX-B: b\r\n", ""),
    ] {
        let mut sender = RawHttp::open(&world.door).await;
        let head = format!("POST /hyco HTTP/1.1\r\nHost: x\r\nServiceBusAuthorization: {token}\r\n{fields}\r\n");
        sender.send(format!("{head}{body}{hidden}")).await;
        let response = sender.response().await;
        assert_eq!(response.status, 400, "{what}: {response:?}");
        sender.ended().await;
    }
    // The listener has heard of none of them.
    world.works().await;
}

#[tokio::test]
async fn chunks_win_over_a_length_and_the_connection_ends_with_the_answer() {
    let mut world = World::plain().await;
    for fields in
        [["Content-Length: 3", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "Content-Length: 3"]]
    {
        let [first, second] = fields;
        let head = format!("POST /hyco HTTP/1.1\r\nHost: x\r\nServiceBusAuthorization: {}\r\n", world.token);
        let hidden = "GET /hyco/hidden HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut sender = RawHttp::open(&world.door).await;
        sender.send(format!("{head}{first}\r\n{second}\r\n\r\n4\r\nbody\r\n0\r\n\r\n{hidden}")).await;
        let (mut ws, asked) = world.listener.request().await.fetch().await;
        assert_eq!(asked.body.as_deref(), Some(&b"body"[..]));
        hybridrelay_tests::wire::requests::respond(&mut ws, asked.response(204, false), None).await;
        assert_eq!(sender.response().await.status, 204);
        sender.ended().await;
    }
    // Nothing was heard of what stood behind.
    world.works().await;
}

#[tokio::test]
async fn chunks_that_are_none_end_the_request() {
    let mut world = World::plain().await;
    for chunks in
        ["x\r\n", "-1\r\na\r\n", "5 5\r\n12345\r\n", "ffffffffffffffffff\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3;\nabc\r\n"]
    {
        let ask = world.request("POST", "").header("Transfer-Encoding", "chunked");
        let mut sender = RawHttp::open(&world.door).await;
        sender.ask(&world.door, &ask).await;
        sender.send(chunks).await;
        let mut ws = world.listener.request().await.fetch_head().await.0;
        // Perhaps a part of the body, and then the end: never a final frame.
        loop {
            let frame = ws.frame().await;
            if frame.opcode == 8 {
                assert_eq!(frame.payload[..2], 1001_u16.to_be_bytes(), "{chunks:?}");
                break;
            }
            assert!(!frame.fin, "{chunks:?} was taken for a whole body");
        }
    }
    world.works().await;
}

#[tokio::test]
async fn trailers_and_extensions_of_chunks_do_not_reach_the_listener() {
    let mut world = World::plain().await;
    world.ask(&world.request("POST", "").header("Transfer-Encoding", "chunked").header("Trailer", "X-After")).await;
    world.sender.send("4;name=value\r\nbody\r\n0\r\nX-After: 1\r\n\r\n").await;
    let (mut ws, asked) = world.listener.request().await.fetch().await;
    assert_eq!((asked.body.as_deref(), asked.header("Trailer")), (Some(&b"body"[..]), None));
    hybridrelay_tests::wire::requests::respond(&mut ws, asked.response(204, false), None).await;
    assert_eq!(world.sender.response().await.status, 204);
    world.works().await;
}
