//! What is sent arrives, whole and in order.

use hybridrelay::Message;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::{self, Ends};

#[tokio::test]
async fn an_echo_comes_back() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        sender.send("hello").soon().await.unwrap();
        assert_eq!(accepted.receive().soon().await.unwrap(), Some(Message::from("hello")));
        accepted.send(b"world").soon().await.unwrap();
        assert_eq!(sender.receive().soon().await.unwrap(), Some(Message::from(b"world")));
        let (closed, ended) = tokio::join!(sender.close().soon(), async {
            assert_eq!(accepted.receive().soon().await.unwrap(), None);
            accepted.close().soon().await
        });
        closed.unwrap();
        ended.unwrap();
    }
}
