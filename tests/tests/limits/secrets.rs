//! Keys, signatures, tokens, tickets and passwords show nowhere: not in logs of any level, not in errors, events or metrics.

use std::error::Error as _;
use std::fmt::Write;

use hybridrelay::protocol::Response;
use hybridrelay::{ConnectionString, Error, Listener, Proxy, Sender, TokenProvider};
use hybridrelay_relay::directory::{Delivery, Reply};
use hybridrelay_relay::{Entity, LocalRelay};
use hybridrelay_tests::secrets::{Log, Secrets};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{RawListener, token};
use hybridrelay_tests::wire::raw::{Answer, Ask, Door, text};
use hybridrelay_tests::wire::requests::{closed, respond};
use hybridrelay_tests::wire::setup::{self, HYCO};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// With characters that every encoding changes.
const KEY: &str = "9f8QyJ2m+Zr1/abcDEFghiJKLmnoPQRstuVWXyz0123=";
const WRONG_KEY: &str = "kEy+of/somebody+else/0123456789abcdefghijklm=";
const PASSWORD: &str = "pass/word+of=the proxy";

/// What a busy day brings forth: everything that may be shown, and what must not be in it.
#[derive(Default)]
struct Day {
    secrets: Secrets,
    shown: String,
}

impl Day {
    fn token(&mut self, what: &str, rule: &str, key: &str) -> String {
        let token = token("http://localhost/", rule, key);
        self.secrets.add_token(what, &token);
        token
    }

    /// Notes how something shows itself.
    fn show(&mut self, thing: &impl std::fmt::Debug) {
        writeln!(self.shown, "{thing:?}\n{thing:#?}").expect("a string takes everything");
    }

    /// Notes all that an error tells.
    fn error(&mut self, error: &Error) {
        self.show(error);
        writeln!(self.shown, "{error}").expect("a string takes everything");
        let mut source = error.source();
        while let Some(cause) = source {
            writeln!(self.shown, "{cause}\n{cause:?}").expect("a string takes everything");
            source = cause.source();
        }
    }

    fn answer(&mut self, answer: &Answer) {
        self.show(answer);
    }
}

fn encoded(token: &str) -> String {
    utf8_percent_encode(token, NON_ALPHANUMERIC).to_string()
}

/// Listeners and senders that get in, in every way in which a token can travel.
async fn who_gets_in(day: &mut Day, relay: &LocalRelay, door: &Door) {
    let good = day.token("a good token", relay.key_name(), KEY);
    let renewed = day.token("a renewed token", relay.key_name(), KEY);

    let mut control = RawListener::open_on(relay, HYCO).await;
    for bad in ["com.example.Token@1b2c3d", &day.token("a bad renewal", relay.key_name(), WRONG_KEY)] {
        let renewal = serde_json::json!({"renewToken": {"token": bad}}).to_string();
        control.ws.send(&text(&renewal)).await;
    }
    let unknown = serde_json::json!({"renewTokens": {"token": good}}).to_string();
    control.ws.send(&text(&unknown)).await;
    let renewal = serde_json::json!({"renewToken": {"token": renewed}}).to_string();
    control.ws.send(&text(&renewal)).await;

    let query = format!("/$hc/{HYCO}/x?sb-hc-token={}&session=a-secret-of-the-user", encoded(&good));
    day.secrets.add("a secret in a query", "a-secret-of-the-user");
    for (ask, accept) in [
        (Ask::websocket(query.clone()), true),
        (Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=connect")).token(&good), false),
        (Ask::websocket(query.replace('?', "%3F")), true),
    ] {
        let (sender, listener) = tokio::join!(ask.send(door), async {
            let invitation = control.invitation().await;
            let (_, ticket) = invitation.field("address").split_once("sb-hc-ticket=").expect("a ticket");
            let rest = if accept { "" } else { "&sb-hc-statusCode=451&sb-hc-statusDescription=no" };
            let ticket = ticket.to_owned();
            let answer = invitation.dial_with(rest).await;
            // Used up, and with a wrong end.
            let again = [invitation.dial().await, invitation.dial_with("&x=1").await];
            (ticket, answer, again)
        });
        let (ticket, answer, again) = listener;
        day.secrets.add("a ticket", &ticket);
        for answer in again.iter().chain([&sender, &answer]) {
            day.answer(answer);
        }
        day.show(&Delivery { text: format!("sb-hc-ticket={ticket}"), body: None, request_id: None, one_way: false });
        let mut response_headers = http::HeaderMap::new();
        response_headers.insert("set-cookie", ticket.parse().expect("a header value"));
        let response = Response {
            request_id: "id".to_owned(),
            status_code: 200,
            status_description: None,
            response_headers,
            body: true,
        };
        day.show(&Reply { response, body: Some(ticket.into()) });
    }
}

/// Requests that are refused, for each reason.
async fn who_is_refused(day: &mut Day, relay: &LocalRelay, door: &Door) {
    let good = day.token("another good token", relay.key_name(), KEY);
    let wrong = day.token("a token by a wrong key", relay.key_name(), WRONG_KEY);
    let foreign = token("http://localhost/elsewhere", relay.key_name(), KEY);
    day.secrets.add_token("a token for elsewhere", &foreign);
    let expired = hybridrelay::token::SasToken::create(
        "http://localhost/",
        relay.key_name(),
        KEY,
        std::time::SystemTime::UNIX_EPOCH,
    )
    .to_text();
    day.secrets.add_token("an expired token", &expired);
    let cut = good.split("&se=").next().expect("a beginning").to_owned();

    for token in [&wrong, &foreign, &expired, &cut] {
        let value = encoded(token);
        for ask in [
            Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=listen")).token(token),
            Ask::websocket(format!("/$hc/{HYCO}?sb-hc-token={value}")),
            Ask::websocket(format!("/$hc/{HYCO}%3Fsb-hc-action=connect&sb-hc-token={value}")),
            Ask::http("GET", format!("/{HYCO}?sb-hc-token={value}")),
            Ask::http("GET", format!("/{HYCO}")).header("Authorization", token),
        ] {
            let answer = ask.send(door).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            day.answer(&answer);
        }
    }
    let value = encoded(&good);
    for ask in [
        Ask::websocket(format!("/$hc/nowhere?sb-hc-token={value}")),
        Ask::websocket(format!("/$hc/{HYCO}?sb-hc-token={value}&sb-hc-token={value}")),
        Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=dance&sb-hc-token={value}")),
        Ask::websocket(format!("/$hc/{HYCO}%3Fsb-hc-action=dance&sb-hc-token={value}")),
        Ask::websocket(format!("/$hc/{HYCO}?sb-hc-action=accept&sb-hc-ticket={value}")),
        Ask::http("GET", format!("/$hc/{HYCO}?sb-hc-token={value}")),
        Ask::http("GET", format!("/{HYCO}?sb-hc-token={value}")),
        Ask::http("GET", "/").token(&good),
        Ask::websocket(format!("/$hc/{HYCO}")).header("X-Large", &good.repeat(300)),
        Ask::websocket(format!("/$hc/{HYCO}")).token(&good).header("Sec-WebSocket-Version", "12"),
    ] {
        let answer = ask.send(door).await;
        assert!((400..600).contains(&answer.status), "{answer:?}");
        day.answer(&answer);
    }
}

/// What the SDK says of itself, and of what it is refused.
async fn the_sdk(day: &mut Day, relay: &LocalRelay) {
    let string: ConnectionString = relay.connection_string("sdk").parse().expect("a connection string");
    day.show(&string);
    let trusting = |builder: hybridrelay::ListenerBuilder| builder.extra_ca_pem(relay.ca_pem().expect("with TLS"));
    let listener = trusting(Listener::builder(string.clone())).open().soon().await.expect("online");
    let sender = setup::sender(relay, "sdk").header("X-Token", "a-secret-of-the-user");
    day.show(&sender);
    let sender = sender.build().expect("a valid target");
    day.show(&sender);
    let (sent, accepted) = setup::meet(&sender, &listener).await;
    sent.send("a-secret-of-the-user").soon().await.expect("open");
    accepted.receive().soon().await.expect("open");
    day.show(&sent);
    let connecting = sender.connect().query("session=a-secret-of-the-user");
    day.show(&connecting);
    let (refused, ()) = tokio::join!(connecting.soon(), async {
        let incoming = setup::incoming(&listener).await;
        day.show(&incoming);
        incoming.reject(451, "not today").soon().await.expect("told");
    });
    day.error(&refused.expect_err("rejected"));
    day.show(&listener);

    let ready_made = day.token("a ready-made token", relay.key_name(), KEY);
    let provider = TokenProvider::ready_made(ready_made.clone()).expect("a token");
    day.show(&provider);
    let address = relay.address();
    let renewing = trusting(Listener::builder(address.clone()).entity("sdk").credential(provider.clone()));
    day.show(&renewing);
    let renewing = renewing.open().soon().await.expect("online");
    let next = day.token("the next ready-made token", relay.key_name(), KEY);
    provider.set_token(next).expect("a token");
    renewing.close().soon().await;

    let wrong = day.token("a wrong ready-made token", relay.key_name(), WRONG_KEY);
    let provider = TokenProvider::ready_made(wrong).expect("a token");
    let refused = trusting(Listener::builder(address).entity("sdk").credential(provider)).open().soon().await;
    day.error(&refused.expect_err("a wrong key"));
    for bad in [
        format!("Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey={KEY};Unknown={KEY}"),
        format!("Endpoint=nothing {KEY};SharedAccessKeyName=n;SharedAccessKey={KEY}"),
        format!("Endpoint=sb://h/;SharedAccessKey={KEY}"),
        KEY.replace('=', "~"),
    ] {
        day.error(&bad.parse::<ConnectionString>().expect_err("no connection string"));
    }
    listener.close().soon().await;
}

/// HTTP requests: a token in each carrier, answers on the control channel and at a rendezvous, and withdrawn ones.
async fn who_asks(day: &mut Day, relay: &LocalRelay, door: &Door) {
    let good = day.token("a token of requests", relay.key_name(), KEY);
    let mut control = RawListener::open_on(relay, HYCO).await;
    let query = format!("/{HYCO}/x?sb-hc-token={}&session=a-secret-of-the-user", encoded(&good));
    for (ask, dials) in [
        (Ask::http("POST", query.clone()).body("a-secret-of-the-user"), false),
        (Ask::http("GET", format!("/{HYCO}/x")).token(&good).header("Cookie", "a-secret-of-the-user"), true),
        (Ask::http("GET", format!("/{HYCO}/x")).header("Authorization", &good), false),
        (Ask::http("POST", query.replace('?', "%3F")).body(vec![b'x'; 70_000]), true),
    ] {
        let answering = async {
            let asked = control.request().await;
            let (_, ticket) = asked.field("address").split_once("sb-hc-ticket=").expect("a ticket");
            let (ticket, again) = (ticket.to_owned(), asked.ask());
            if dials {
                let (mut ws, asked) =
                    if asked.is_marker() { asked.fetch().await } else { (asked.upgrade().await, asked) };
                respond(&mut ws, asked.response(200, true), Some(b"a-secret-of-the-user")).await;
                closed(&mut ws, 1000).await;
            } else {
                let mut response = asked.response(200, true);
                response["responseHeaders"] = serde_json::json!({"Set-Cookie": "a-secret-of-the-user"});
                control.respond(response, Some(b"a-secret-of-the-user")).await;
            }
            // Used up.
            (ticket, again.send(door).await)
        };
        let (answer, (ticket, again)) = tokio::join!(ask.send(door), answering);
        day.secrets.add("a ticket of a request", &ticket);
        assert_eq!(answer.status, 200, "{answer:?}");
        day.answer(&again);
    }
    let mut socket = door.open().await;
    Ask::http("GET", query.clone()).write(door, &mut socket).await;
    let asked = control.request().await;
    let (_, ticket) = asked.field("address").split_once("sb-hc-ticket=").expect("a ticket");
    day.secrets.add("a ticket of a request that was withdrawn", ticket);
    drop(socket);
    // Its answer comes too late, or not: either is told of.
    control.respond(asked.response(204, false), None).await;
    control.respond(serde_json::json!({"requestId": good, "statusCode": 200, "responseHeaders": {}}), None).await;
}

/// What the SDK says of requests, at both ends and in between.
async fn the_sdks_requests(day: &mut Day, relay: &LocalRelay) {
    let listener = setup::listener(relay, "http").soon().await.expect("online");
    let sender = setup::sender(relay, "http").build().expect("a valid target");
    let ask = || {
        let ask = http::Request::post("/x?session=a-secret-of-the-user").header("Cookie", "a-secret-of-the-user");
        ask.body("a-secret-of-the-user").expect("a request")
    };
    let (answer, ()) = tokio::join!(sender.request(ask()), async {
        let Ok(Some(hybridrelay::Incoming::Request(request))) = listener.accept().soon().await else {
            panic!("a request")
        };
        day.show(&request);
        let (request, responder) = request.into_parts();
        day.show(&responder);
        day.show(request.body());
        let answer =
            http::Response::builder().header("Set-Cookie", "a-secret-of-the-user").body("a-secret-of-the-user");
        responder.send(answer.expect("a response")).soon().await.expect("sent");
    });
    let answer = answer.expect("an answer");
    day.show(answer.body());
    answer.into_body().bytes(1024).soon().await.expect("whole");

    // Nobody serves there any more: the forwarder tells of it.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = format!("http://{}/?key={}", free.local_addr().expect("bound"), encoded(KEY));
    day.error(&hybridrelay::Forwarder::check(&target).expect_err("a target without a query"));
    let target = target.split("/?").next().expect("a beginning").to_owned();
    drop(free);
    let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
    let forwarder = listener.forward(&target).observe(move |event| {
        // Whoever has gone need not be told.
        let _ = told.send(format!("{event:?}"));
    });
    let (answer, ()) = tokio::join!(sender.request(ask()), async {
        tokio::select! {
            ended = forwarder => panic!("nobody closed the listener: {ended:?}"),
            told = tells.recv() => day.shown += &told.expect("an event"),
        }
    });
    assert_eq!(answer.expect("the forwarder's own answer").status(), 502);
    listener.close().soon().await;
    relay.watch_listeners("http").wait_for(|count| *count == 0).soon().await.expect("the relay lives");
    day.error(&sender.request(ask()).soon().await.expect_err("nobody listens"));
    let wrong = TokenProvider::shared_access_key(relay.key_name(), WRONG_KEY);
    let stranger = setup::sender(relay, "http").credential(wrong).build().expect("a valid target");
    day.error(&stranger.request(ask()).soon().await.expect_err("a wrong key"));
}

/// A proxy that wants another password.
async fn the_proxy(day: &mut Day, relay: &LocalRelay) {
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listening.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listening.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    for scheme in ["http", "socks5"] {
        let url = format!("{scheme}://user:{}@{address}", encoded(PASSWORD));
        let proxy = Proxy::url(&url).expect("a proxy");
        day.show(&proxy);
        let sender = Sender::builder(relay.connection_string(HYCO)).proxy(proxy);
        day.show(&sender);
        let refused = sender.build().expect("a valid target").connect().soon().await;
        day.error(&refused.expect_err("the proxy refuses"));
        day.error(&Proxy::url(url.replace(scheme, "gopher")).expect_err("no proxy"));
    }
}

#[tokio::test]
async fn no_secret_shows_in_logs_errors_events_and_metrics() {
    let log = Log::capture();
    let mut day = Day::default();
    day.secrets.add("the key", KEY);
    day.secrets.add("a wrong key", WRONG_KEY);
    day.secrets.add("the proxy's password", PASSWORD);

    let config = crate::common::config(|config| config.limits.failed_authorizations_per_minute = 10_000);
    let relay = LocalRelay::builder().key(KEY).tls(true).config(config).start().soon().await.expect("a free port");
    relay.store().put_entity(relay.namespace(), Entity::new(HYCO.parse().expect("a name")));
    let mut events = relay.events();
    let door = Door::from(&relay);
    day.show(&relay);
    day.show(relay.store());

    who_gets_in(&mut day, &relay, &door).await;
    who_is_refused(&mut day, &relay, &door).await;
    the_sdk(&mut day, &relay).await;
    who_asks(&mut day, &relay, &door).await;
    the_sdks_requests(&mut day, &relay).await;
    the_proxy(&mut day, &relay).await;

    let metrics = relay.metrics_text();
    relay.shutdown(std::time::Duration::from_secs(5)).soon().await;
    let mut told = 0;
    while let Some(event) = events.next().soon().await {
        told += 1;
        day.show(&event);
    }
    let logged = log.text();
    // Something was said at all: each kind of place has been looked at.
    assert!(told > 40 && events.missed() == 0, "{told}");
    for place in
        ["NewListenerRegistered", "SenderConnectionClosed", "SenderSentHttpRequest", "invalid_signature", "tungstenite"]
    {
        assert!(logged.contains(place), "nothing of {place} was logged");
    }
    day.secrets.assert_absent("the log", &logged);
    day.secrets.assert_absent("the metrics", &metrics);
    day.secrets.assert_absent("what is shown", &day.shown);
    // Tokens that the SDK made by itself.
    for (place, text) in [("the log", &logged), ("what is shown", &day.shown)] {
        for mark in ["sig=", "sig%3D", "SharedAccessSignature sr", "SharedAccessSignature+sr"] {
            let line = text.lines().find(|line| line.contains(mark));
            assert_eq!(line, None, "{place} holds a token");
        }
    }
}

#[test]
fn a_secret_that_leaks_is_found_in_every_form() {
    let mut secrets = Secrets::default();
    secrets.add("the key", KEY);
    let token = token("http://localhost/", "rule", KEY);
    secrets.add_token("the token", &token);

    let leak = |say: &dyn Fn()| {
        let log = Log::capture();
        tracing::trace!("harmless before");
        say();
        tracing::trace!("harmless after");
        let found = secrets.find(&log.text());
        assert!(found.iter().all(|line| !line.contains("harmless")), "{found:?}");
        found
    };
    assert_eq!(leak(&|| {}), Vec::<String>::new());
    let leaks: [(&str, &dyn Fn()); 9] = [
        ("a message", &|| tracing::trace!("the key is {KEY}")),
        ("a field", &|| tracing::debug!(key = KEY)),
        ("a value of its own", &|| tracing::info!(key = ?Some(KEY))),
        ("a query", &|| tracing::warn!("/x?sb-hc-token={}", encoded(&token))),
        ("a query in lower case", &|| tracing::warn!("/x?sb-hc-token={}", encoded(&token).replace("%2F", "%2f"))),
        ("a signature", &|| {
            let (_, signature) = token.split_once("sig=").expect("a signature");
            tracing::error!("{}", signature.split('&').next().expect("a value"));
        }),
        ("JSON", &|| tracing::trace!("{}", KEY.replace('/', "\\/"))),
        ("base64", &|| {
            use base64::Engine;
            let header = base64::engine::general_purpose::STANDARD.encode(format!("user:{KEY} and more"));
            tracing::trace!("Proxy-Authorization: Basic {header}");
        }),
        ("bytes", &|| tracing::trace!("{:?}", KEY.as_bytes())),
    ];
    for (form, say) in leaks {
        assert!(!leak(say).is_empty(), "{form} is not found");
    }
}
