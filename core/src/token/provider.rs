//! Where tokens come from.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use tokio::sync::watch;

use super::{SasToken, Secret};
use crate::env::{BoxFuture, Env};
use crate::{Error, ErrorKind, Result};

/// How long a token made from a key lives, unless told otherwise (protocol.md 2.2).
const VALIDITY: Duration = Duration::from_secs(60 * 60);

/// A token that can be shown to a relay.
#[derive(Clone, Debug)]
pub struct Token {
    text: Secret,
    expires_at: Option<SystemTime>,
}

impl Token {
    /// A token and when it ends; without an expiry it is read from the token if it is a shared access signature or a JWT.
    pub fn new(text: impl Into<String>, expires_at: Option<SystemTime>) -> Self {
        let text = text.into();
        let expires_at = expires_at.or_else(|| read_expiry(&text));
        Self { text: Secret::new(text), expires_at }
    }

    /// When it ends, if that is known.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// The token itself.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    pub(crate) fn header_value(&self) -> Result<HeaderValue> {
        let mut value = HeaderValue::from_str(self.expose())
            .map_err(|_| Error::invalid("the token holds characters that may not stand in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Makes tokens for listeners and senders. Cheap to clone; clones share a ready-made token.
#[derive(Clone)]
pub struct TokenProvider(Arc<Source>);

enum Source {
    Key { name: String, key: Secret, validity: Duration },
    ReadyMade(watch::Sender<Token>),
    Callback(Box<dyn Fn(String) -> BoxFuture<Result<Token>> + Send + Sync>),
}

impl TokenProvider {
    /// Tokens signed with the key of a rule. Each lives for 60 minutes.
    pub fn shared_access_key(name: impl Into<String>, key: impl Into<String>) -> Self {
        Self::shared_access_key_with_validity(name, key, VALIDITY)
    }

    /// Tokens signed with the key of a rule that live for `validity`.
    pub fn shared_access_key_with_validity(
        name: impl Into<String>,
        key: impl Into<String>,
        validity: Duration,
    ) -> Self {
        Self(Arc::new(Source::Key { name: name.into(), key: Secret::new(key), validity }))
    }

    /// A token that somebody else made. It cannot be renewed by the library: give a new one to [`set_token`](Self::set_token) before
    /// it ends.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an empty token.
    pub fn ready_made(token: impl Into<String>) -> Result<Self> {
        Ok(Self(Arc::new(Source::ReadyMade(watch::Sender::new(check(token)?)))))
    }

    /// Tokens from the program: called with the audience, `http://host/entity/`, whenever one is needed.
    pub fn from_fn<F, Fut>(callback: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Token>> + Send + 'static,
    {
        Self(Arc::new(Source::Callback(Box::new(move |audience| Box::pin(callback(audience))))))
    }

    /// Replaces a ready-made token: listeners that use this provider renew with it at once.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an empty token or a provider of another kind.
    pub fn set_token(&self, token: impl Into<String>) -> Result<()> {
        match &*self.0 {
            Source::ReadyMade(current) => {
                current.send_replace(check(token)?);
                Ok(())
            }
            Source::Key { .. } | Source::Callback(_) => Err(Error::invalid("only a ready-made token can be replaced")),
        }
    }

    /// Whether the library can get a new token by itself.
    pub fn is_renewable(&self) -> bool {
        !matches!(*self.0, Source::ReadyMade(_))
    }

    /// A token for an audience.
    ///
    /// # Errors
    ///
    /// `Unauthorized` if a ready-made token has expired; whatever a callback returns. Cancel-safe.
    pub async fn token(&self, env: &Env, audience: &str) -> Result<Token> {
        match &*self.0 {
            Source::Key { name, key, validity } => {
                let expires_at = env.wall_clock() + *validity;
                let token = SasToken::create(audience, name, key.expose(), expires_at);
                Ok(Token::new(token.to_text(), Some(expires_at)))
            }
            Source::ReadyMade(current) => {
                let token = current.borrow().clone();
                match token.expires_at {
                    Some(end) if end <= env.wall_clock() => Err(expired()),
                    _ => Ok(token),
                }
            }
            Source::Callback(callback) => callback(audience.to_owned()).await,
        }
    }

    /// A way to notice that [`set_token`](Self::set_token) was called; `None` for other kinds.
    pub(crate) fn watch(&self) -> Option<watch::Receiver<Token>> {
        match &*self.0 {
            Source::ReadyMade(current) => Some(current.subscribe()),
            Source::Key { .. } | Source::Callback(_) => None,
        }
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self.0 {
            Source::Key { .. } => "TokenProvider(shared access key)",
            Source::ReadyMade(_) => "TokenProvider(ready-made token)",
            Source::Callback(_) => "TokenProvider(callback)",
        })
    }
}

/// When a token with this much life left is renewed: before it ends, but not too early (protocol.md 9.2).
pub fn renewal_delay(life: Duration) -> Duration {
    let early = life.mul_f64(0.8).min(life.saturating_sub(Duration::from_secs(5 * 60)));
    early.max(life.mul_f64(0.5))
}

/// What a ready-made token that has ended means for whoever needs it.
pub(crate) fn expired() -> Error {
    Error::new(ErrorKind::Unauthorized, "the ready-made token has expired").with_hint("set a new token")
}

fn check(token: impl Into<String>) -> Result<Token> {
    let token = token.into();
    if token.trim().is_empty() { Err(Error::invalid("the token is empty")) } else { Ok(Token::new(token.trim(), None)) }
}

fn read_expiry(text: &str) -> Option<SystemTime> {
    if let Ok(token) = SasToken::parse(text) {
        return Some(token.expires_at());
    }
    // A JWT: three parts, the middle one a JSON object with the expiry in seconds.
    let mut parts = text.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let seconds = claims.get("exp")?.as_u64()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_comes_before_expiry_but_not_early() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(renewal_delay(minutes(60)), minutes(48));
        assert_eq!(renewal_delay(minutes(20)), minutes(15));
        assert_eq!(renewal_delay(minutes(8)), minutes(4));
        assert_eq!(renewal_delay(Duration::ZERO), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_key_makes_a_token_for_the_audience() {
        let env = Env::system();
        let token = TokenProvider::shared_access_key("n", "k").token(&env, "http://h/x/").await.unwrap();
        let read = SasToken::parse(token.expose()).unwrap();
        assert!(read.signature_matches("k"));
        assert_eq!(token.expires_at().map(|end| end > env.wall_clock()), Some(true));
    }

    #[tokio::test]
    async fn a_ready_made_token_is_replaced_and_its_end_is_told() {
        let env = Env::system();
        let old = SasToken::create("http://h/x/", "n", "k", SystemTime::UNIX_EPOCH).to_text();
        let provider = TokenProvider::ready_made(old).unwrap();
        let mut seen = provider.watch().unwrap();
        assert_eq!(provider.token(&env, "").await.unwrap_err().kind(), ErrorKind::Unauthorized);
        let new = SasToken::create("http://h/x/", "n", "k", env.wall_clock() + VALIDITY).to_text();
        provider.set_token(&new).unwrap();
        seen.changed().await.unwrap();
        assert_eq!(provider.token(&env, "").await.unwrap().expose(), new);
    }

    #[test]
    fn the_expiry_of_a_jwt_is_read() {
        let jwt = format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(br#"{"exp":1767226200}"#));
        assert_eq!(
            Token::new(jwt, None).expires_at(),
            Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_226_200))
        );
        assert_eq!(Token::new("opaque", None).expires_at(), None);
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let provider = TokenProvider::shared_access_key("n", "s3cret");
        assert!(!format!("{provider:?} {:?}", Token::new("s3cret", None)).contains("s3cret"));
    }
}
