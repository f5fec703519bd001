//! What .NET asks of a hybrid connection (protocol.md 7.1).

use hybridrelay_relay::Entity;
use hybridrelay_tests::wire::raw::Ask;
use hybridrelay_tests::wire::setup::entity;

use crate::common::{HOST, ask, listen, token, world};

fn get(path: &str) -> Ask {
    Ask::http("GET", format!("/{path}?api-version=2016-07")).header("X-PROCESS-AT", "ServiceBus")
}

fn authorised(path: &str) -> Ask {
    get(path).header("Authorization", &token("manage", path))
}

#[tokio::test]
async fn a_hybrid_connection_is_described_as_the_client_of_dotnet_reads_it() {
    let described = Entity { user_metadata: "a <b> & \"c\"".to_owned(), ..entity("Described/it") };
    let relay = world(|namespace| namespace.with_entity(described)).await;
    let _listener = listen(&relay, "described/it").await;
    let answer = ask(&relay.door, authorised("described/it")).await;
    assert_eq!((answer.status, answer.header("via")), (200, None));
    assert_eq!(answer.header("content-type"), Some("application/atom+xml;type=entry;charset=utf-8"));
    let text = answer.text();
    let created = text.split("<CreatedAt>").nth(1).and_then(|rest| rest.split('<').next()).expect("a time");
    // Ten millionths of a second, in UTC.
    assert!(created.len() == 28 && created.ends_with('Z') && created.contains('T'), "{created}");
    let published = format!("{}Z", &created[..23]);
    let base = format!("http://{}", relay.door.authority);
    let expected = format!(
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><id>{base}/Described/it</id><title type=\"text\">Described/it</title>\
         <published>{published}</published><updated>{published}</updated><content type=\"application/xml\">\
         <HybridConnectionDescription xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" \
         xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"><CreatedAt>{created}</CreatedAt><UpdatedAt>{created}</UpdatedAt>\
         <RequiresClientAuthorization>true</RequiresClientAuthorization>\
         <UserMetadata>a &lt;b&gt; &amp; &quot;c&quot;</UserMetadata><ListenerCount>1</ListenerCount>\
         </HybridConnectionDescription></content></entry>"
    );
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_refusal_is_xml_with_the_tracking_id() {
    let relay = world(|namespace| namespace).await;
    for (asked, status, text) in [
        (get("hyco"), 401, "MissingToken"),
        (get("hyco").header("Authorization", &token("send", "hyco")), 403, "does not give the right to manage"),
        (authorised("nowhere"), 404, "Endpoint does not exist"),
        (authorised("hyco/deeper"), 404, "Endpoint does not exist"),
        (authorised(""), 404, "Endpoint does not exist"),
        (authorised("").header("Accept", "text/event-stream"), 404, "Endpoint does not exist"),
    ] {
        let answer = ask(&relay.door, asked).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/xml; charset=utf-8")));
        let body = answer.text();
        assert!(body.starts_with(&format!("<Error><Code>{status}</Code><Detail>")), "{body}");
        assert!(body.ends_with("</Detail></Error>") && body.contains(text), "{body}");
        let id = answer.header("trackingid").expect("an id");
        assert!(body.contains(&format!("TrackingId:{id}, ")), "{body}");
    }
}

#[tokio::test]
async fn it_is_only_read() {
    let relay = world(|namespace| namespace).await;
    for method in ["PUT", "DELETE", "POST", "OPTIONS", "PATCH"] {
        let asked = Ask::http(method, "/hyco?api-version=2016-07").header("X-PROCESS-AT", "ServiceBus");
        let answer = ask(&relay.door, asked.header("Authorization", &token("manage", "hyco"))).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert!(answer.text().starts_with("<Error><Code>405</Code>"), "{}", answer.text());
    }
}

#[tokio::test]
async fn without_the_header_it_is_a_request_for_the_listener() {
    let relay = world(|namespace| namespace).await;
    let mut listener = listen(&relay, "hyco").await;
    for more in [None, Some("Elsewhere")] {
        let asked = Ask::http("GET", "/hyco?api-version=2016-07").token(&token("send", "hyco"));
        let asked = more.map_or(asked.clone(), |at| asked.header("X-PROCESS-AT", at));
        let answering = async {
            let request = listener.request().await;
            assert_eq!(request.field("requestTarget"), "/hyco?api-version=2016-07");
            listener.respond(request.response(204, false), None).await;
        };
        let (answer, ()) = tokio::join!(ask(&relay.door, asked), answering);
        assert_eq!((answer.status, answer.header("via")), (204, Some(&*format!("1.1 {HOST}"))));
    }
}
