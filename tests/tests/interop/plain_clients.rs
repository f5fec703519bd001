//! WebSocket clients that know nothing of relays: their token stands in the address.

use hybridrelay_tests::program::Program;
use serde_json::json;

use crate::end::End;
use crate::relay::{ENTITY, TestRelay, next_sender, with_token};
use crate::{scenarios, stacks};

#[tokio::test]
async fn the_ws_package_reaches_our_listener() {
    let relay = TestRelay::start().await;
    let client = stacks::ws(&relay).await;
    a_plain_client_reaches_our_listener(&relay, &client).await;
    client.finish().await;
}

#[tokio::test]
async fn pythons_websockets_reaches_our_listener() {
    let relay = TestRelay::start().await;
    let client = stacks::websockets(&relay).await;
    a_plain_client_reaches_our_listener(&relay, &client).await;
    client.finish().await;
}

#[tokio::test]
async fn the_ws_package_sees_why_it_is_refused() {
    let relay = TestRelay::start().await;
    let client = stacks::ws(&relay).await;
    a_plain_client_sees_why_it_is_refused(&relay, &client).await;
    client.finish().await;
}

#[tokio::test]
async fn pythons_websockets_sees_why_it_is_refused() {
    let relay = TestRelay::start().await;
    let client = stacks::websockets(&relay).await;
    a_plain_client_sees_why_it_is_refused(&relay, &client).await;
    client.finish().await;
}

async fn a_plain_client_reaches_our_listener(relay: &TestRelay, client: &Program) {
    let listener = relay.listener().await.expect("online");
    let url = relay.sender_url_with_token(ENTITY);
    for client_closes in [true, false] {
        let connect = json!({"id": format!("closes {client_closes}"), "url": url, "protocols": ["a", "b"]});
        let ((mut theirs, agreed), mut ours) = tokio::join!(End::open(client, connect), async {
            End::Sdk(next_sender(&listener).await.accept().await.expect("accepted"))
        });
        assert_eq!(agreed.as_deref(), Some("a"));
        if client_closes {
            scenarios::exchange_messages(&mut ours, &mut theirs).await;
            scenarios::close(&mut theirs, &mut ours).await;
        } else {
            scenarios::close(&mut ours, &mut theirs).await;
        }
    }
}

async fn a_plain_client_sees_why_it_is_refused(relay: &TestRelay, client: &Program) {
    relay.add_entity("quiet");
    let refused = async |id: &str, url: String| End::refused(client, json!({"id": id, "url": url})).await;

    let without_token = refused("no token", relay.sender_url("quiet")).await;
    assert_eq!(without_token["status"], 401, "{without_token}");

    let forged = with_token(&relay.sender_url("quiet"), &relay.token_signed_with("quiet", "another key"));
    let forged = refused("forged", forged).await;
    assert_eq!(forged["status"], 401, "{forged}");

    for (path, explanation) in
        [("quiet", "There are no listeners connected for the endpoint"), ("nowhere", "Endpoint does not exist")]
    {
        let refused = refused(path, relay.sender_url_with_token(path)).await;
        assert_eq!(refused["status"], 404, "{refused}");
        assert!(refused["reason"].as_str().is_some_and(|reason| reason.starts_with(explanation)), "{refused}");
    }

    let listener = relay.listener().await.expect("online");
    let (rejected, ()) = tokio::join!(refused("rejected", relay.sender_url_with_token(ENTITY)), async {
        next_sender(&listener).await.reject(451, "Not for you").await.expect("rejected");
    });
    assert_eq!((&rejected["status"], &rejected["reason"]), (&json!(451), &json!("Not for you")));
}
