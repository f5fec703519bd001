//! The token of a sender's requests, kept until it should be renewed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use tokio::sync::Semaphore;

use crate::env::Env;
use crate::token::{Token, TokenProvider, renewal_delay};
use crate::{Error, ErrorKind, Result};

pub(super) struct Tokens {
    env: Env,
    credential: TokenProvider,
    audience: String,
    /// How long the provider may take.
    limit: Duration,
    current: Mutex<Option<Current>>,
    /// One request fetches, the others wait for what it gets.
    fetching: Semaphore,
}

struct Current {
    header: HeaderValue,
    /// By whichever clock comes first: the wall clock runs on while a machine sleeps.
    renew_at: (Instant, SystemTime),
}

impl Tokens {
    pub(super) fn new(env: Env, credential: TokenProvider, audience: String, limit: Duration) -> Self {
        Self { env, credential, audience, limit, current: Mutex::new(None), fetching: Semaphore::new(1) }
    }

    /// The token for a request that is made now. Cancel-safe.
    pub(super) async fn header(&self) -> Result<HeaderValue> {
        if let Some(header) = self.current() {
            return Ok(header);
        }
        // The semaphore is never closed.
        let _turn = self.fetching.acquire().await;
        if let Some(header) = self.current() {
            return Ok(header);
        }
        let fetching = self.credential.token(&self.env, &self.audience);
        let token = self.env.timeout(self.limit, fetching).await.unwrap_or_else(|| {
            let limit = self.limit.as_secs_f32();
            Err(Error::new(ErrorKind::Timeout, format!("the token provider did not answer within {limit} s")))
        })?;
        let header = token.header_value()?;
        self.keep(&token, header.clone());
        Ok(header)
    }

    /// The relay did not like the token: the next request asks for another.
    pub(super) fn forget(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn current(&self) -> Option<HeaderValue> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, wall_clock) = (self.env.now(), self.env.wall_clock());
        let is_good = |current: &&Current| now < current.renew_at.0 && wall_clock < current.renew_at.1;
        current.as_ref().filter(is_good).map(|current| current.header.clone())
    }

    /// A ready-made token is not kept, since the program may replace it, nor is one whose end is not known.
    fn keep(&self, token: &Token, header: HeaderValue) {
        let Some(expires) = token.expires_at().filter(|_| self.credential.is_renewable()) else { return };
        let life = expires.duration_since(self.env.wall_clock()).unwrap_or_default();
        let delay = renewal_delay(life);
        let renew_at = (self.env.now() + delay, self.env.wall_clock() + delay);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Current { header, renew_at });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_it_should_be_renewed_or_was_refused() {
        let env = Env::system();
        let asked = Arc::new(AtomicU64::new(0));
        let (counter, clock) = (asked.clone(), env.clone());
        let provider = TokenProvider::from_fn(move |_| {
            let (count, expires) =
                (counter.fetch_add(1, Ordering::SeqCst), clock.wall_clock() + Duration::from_secs(3600));
            async move { Ok(Token::new(format!("token {count}"), Some(expires))) }
        });
        let tokens = Tokens::new(env.clone(), provider, "http://h/x/".into(), Duration::from_secs(1));
        assert_eq!(tokens.header().await.unwrap(), "token 0");
        env.sleep(Duration::from_secs(2700)).await;
        assert_eq!(tokens.header().await.unwrap(), "token 0");
        env.sleep(Duration::from_secs(300)).await;
        assert_eq!(tokens.header().await.unwrap(), "token 1");
        tokens.forget();
        assert_eq!(tokens.header().await.unwrap(), "token 2");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
}
