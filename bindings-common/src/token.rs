//! Tokens that the program makes when they are asked for.

use std::fmt;
use std::sync::Mutex;
use std::time::SystemTime;

use hybridrelay::token::Token;
use hybridrelay::{Error, ErrorKind, TokenProvider};
use tokio::sync::oneshot;

use crate::lock;

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
