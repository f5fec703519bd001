//! A listener that says nothing for longer than every timer on the way, in real time. Here, since the tests beside it take as long.

use std::time::Duration;

use http::{Request, Response};
use hybridrelay::{Body, Error, Incoming, IncomingRequest, Sender};
use hybridrelay_relay::HttpSettings;
use hybridrelay_tests::wire::setup::{self, HYCO, plain};

use super::run;

/// Longer than the relay's Pings, the SDK's keep-alive, and what both wait by default for an answer or for more of one.
const SILENCE: Duration = Duration::from_secs(75);

/// More than the silence, for the relay and for the test.
const PATIENCE: Duration = Duration::from_secs(240);

async fn answer(request: IncomingRequest) -> hybridrelay::Result<()> {
    let path = request.path().to_owned();
    let (request, responder) = request.into_parts();
    if path == "/upload" {
        return responder.send(Response::new(request.into_body().bytes(99).await?)).await;
    }
    if path == "/before" {
        tokio::time::sleep(SILENCE).await;
        return responder.send(Response::new("late")).await;
    }
    let mut writer = responder.start(Response::new(()))?;
    writer.write("la").await?;
    writer.flush().await?;
    tokio::time::sleep(SILENCE).await;
    writer.write("te").await?;
    writer.finish().await
}

async fn ask(sender: &Sender, path: &str, body: Body) {
    let response = sender.request(Request::post(path).body(body).expect("a request")).await.expect("an answer");
    assert_eq!(response.into_body().bytes(99).await.expect("a whole body"), "late", "{path}");
}

#[test]
fn seventy_five_seconds_of_silence_end_nothing_where_they_are_allowed() {
    run(silence());
}

async fn silence() {
    let mut settings = HttpSettings::default();
    (settings.response_timeout, settings.idle_timeout) = (PATIENCE, PATIENCE);
    let relay = plain().await;
    assert!(relay.store().put_entity(relay.namespace(), setup::entity(HYCO).with_http(settings)));
    let listener = setup::listener(&relay, HYCO).await.expect("the listener gets online");
    let sender = setup::sender(&relay, HYCO).build().expect("the options are right");
    tokio::spawn(async move {
        while let Ok(Some(Incoming::Request(request))) = listener.accept().await {
            tokio::spawn(answer(request));
        }
    });
    let halting = futures_util::stream::unfold(0, |count| async move {
        match count {
            0 => Some((Ok::<_, Error>("la"), 1)),
            1 => {
                tokio::time::sleep(SILENCE).await;
                Some((Ok("te"), 2))
            }
            _ => None,
        }
    });
    let asking = async {
        tokio::join!(
            ask(&sender, "/before", Body::empty()),
            ask(&sender, "/within", Body::empty()),
            ask(&sender, "/upload", Body::from_stream(halting)),
        )
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("every answer comes");
}
