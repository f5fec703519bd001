//! Tokens that the program makes when they are asked for.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use hybridrelay::env::Env;
use hybridrelay::token::{SasToken, Token};
use hybridrelay::{Error, ErrorKind, TokenProvider};
use tokio::sync::oneshot;

use crate::errors::{Failure, Result};
use crate::lock;
use crate::queue::Queue;

/// Somebody waits for a token. Dropped without an answer that fails.
pub struct TokenRequest {
    audience: String,
    answer: Mutex<Option<oneshot::Sender<Result<Token, Error>>>>,
}

/// A provider that hands each request to the program, by `ask`, which waits for nothing. It is dropped when nobody can ask any more.
pub fn asking(ask: impl Fn(TokenRequest) + Send + Sync + 'static) -> TokenProvider {
    TokenProvider::from_fn(move |audience| {
        let (answer, answered) = oneshot::channel();
        ask(TokenRequest { audience, answer: Mutex::new(Some(answer)) });
        async move {
            let nobody = || Error::new(ErrorKind::Unauthorized, "the program's token callback gave no token");
            answered.await.unwrap_or_else(|_| Err(nobody()))
        }
    })
}

/// A provider that puts each request into a queue with `tag`, as the value that the host makes of it, and behind the last one that of
/// `None`: nobody can ask any more.
pub fn asking_in<V: Send + 'static>(
    queue: Queue<V>,
    tag: u64,
    value: impl Fn(Option<TokenRequest>) -> V + Send + Sync + 'static,
) -> TokenProvider {
    let asked = Asked { queue, tag, value };
    asking(move |request| asked.post(Some(request)))
}

/// Where requests go.
struct Asked<V, F: Fn(Option<TokenRequest>) -> V> {
    queue: Queue<V>,
    tag: u64,
    value: F,
}

impl<V, F: Fn(Option<TokenRequest>) -> V> Asked<V, F> {
    fn post(&self, request: Option<TokenRequest>) {
        self.queue.post(self.tag, (self.value)(request));
    }
}

impl<V, F: Fn(Option<TokenRequest>) -> V> Drop for Asked<V, F> {
    fn drop(&mut self) {
        self.post(None);
    }
}

/// Signs a token for an audience with the key of a rule, valid for so long from now.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for a time behind all that a clock can tell.
pub fn create(audience: &str, key_name: &str, key: &str, validity: Duration) -> Result<String> {
    let expires_at = Env::system().wall_clock().checked_add(validity);
    let expires_at = expires_at.ok_or_else(|| Failure::invalid(format!("no token is valid for {validity:?}")))?;
    Ok(SasToken::create(audience, key_name, key, expires_at).to_text())
}

impl TokenRequest {
    /// What the token is for.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Gives the token, and when it expires. Only the first answer counts.
    pub fn answer(&self, token: &str, expires_at: Option<SystemTime>) {
        self.give(Ok(Token::new(token, expires_at)));
    }

    /// There is none; `reason` names what went wrong and no secret.
    pub fn fail(&self, reason: &str) {
        let message = "the program's token callback failed";
        self.give(Err(Error::new(ErrorKind::Unauthorized, message).with_reason(reason)));
    }

    fn give(&self, answer: Result<Token, Error>) {
        if let Some(sender) = lock(&self.answer).take() {
            // Whoever asked may have given up.
            let _ = sender.send(answer);
        }
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("audience", &self.audience).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex as StdMutex};
    use std::time::UNIX_EPOCH;

    use hybridrelay::Sender;

    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_once_or_fails() {
        let relay = hybridrelay_relay::LocalRelay::start().await.expect("a free port");
        let answers: [fn(TokenRequest); 3] = [
            drop,
            |request| request.fail("the vault is closed"),
            |request| {
                request.answer("SharedAccessSignature sr=x", Some(UNIX_EPOCH));
                request.fail("too late");
            },
        ];
        for (answer, expected) in answers.into_iter().zip(["gave no token", "the vault is closed", "Token"]) {
            let asked = Arc::new(StdMutex::new(Vec::new()));
            let note = asked.clone();
            let provider = asking(move |request| {
                lock(&note).push(request.audience().to_owned());
                answer(request);
            });
            let sender = Sender::builder(relay.connection_string("hyco")).credential(provider).build().expect("valid");
            let error = sender.connect().open().await.expect_err("no token lets it in");
            assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(lock(&asked).iter().all(|audience| audience.ends_with("/hyco/")), "{asked:?}");
        }
    }
}
