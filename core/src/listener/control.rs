//! One life of a control channel: from the handshake to its loss.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderValue;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::dial::{DialError, Upgraded};
use crate::env::{BoxFuture, Env, Metered, Socket};
use crate::options::Checked;
use crate::protocol::{Features, FromRelay, headers, refusal};
use crate::token::{Token, TokenProvider, expired, renewal_delay};
use crate::{Error, ErrorKind, Result};

mod masks;
mod pipe;

use masks::Masks;
pub(crate) use pipe::Outgoing;
use pipe::Pipe;

/// Renewal is tried again no sooner than this (protocol.md 9.2).
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// How long what was sent may stay unacknowledged by the relay's TCP without a keep-alive; with one, as long as a silent relay is
/// borne. Nothing stalls on a control channel, so such a path is dead.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How long a handshake may stay unacknowledged by the relay's TCP: as long as connecting may take.
const HANDSHAKE_UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// How long a relay that has the request of a listener that was online before may take to answer it: ours gives up itself after
/// this long (10 s for a turn, 10 s for the handshake). An answer that was lost on the way never comes.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Timers that follow the wall clock look again at least this often, so that a clock that jumps is noticed.
const WALL_CLOCK_CHECK: Duration = Duration::from_secs(60);

/// Requests of up to 64 KiB come in one text and one binary message (protocol.md 3.5).
const MESSAGE_LIMIT: usize = 256 * 1024;

/// Up to this much waits until everything was said that there is to say: an answer and its body leave in one piece.
const WRITE_BUFFER: usize = 16 * 1024;

pub(super) struct ControlChannel {
    env: Env,
    pipe: Pipe,
    keep_alive: Option<Duration>,
    keep_alive_deadline: Duration,
    ping_sent: Option<Instant>,
    credential: Option<TokenProvider>,
    /// How long the provider may take: as long as for the opening.
    fetch_limit: Duration,
    /// Tells of new ready-made tokens since the handshake.
    new_tokens: Option<watch::Receiver<Token>>,
    audience: String,
    renewal: Renewal,
    /// A new token is being fetched, while the channel goes on; `None` inside is a provider that took too long.
    fetching: Option<BoxFuture<Option<Result<Token>>>>,
    /// What both ends offer beyond the protocol.
    pub(super) features: Features,
}

/// What the channel says to the listener's task.
#[derive(Debug)]
pub(super) enum ControlEvent {
    Message(Box<FromRelay>),
    /// The body that follows a request which announced one.
    Body(Bytes),
    /// The token was renewed, or could not be; [`expires_at`](ControlChannel::expires_at) may have changed.
    Renewed,
}

/// When the token needs attention.
enum Renewal {
    /// There is no expiry to care about.
    Never,
    /// A new token is fetched and sent then, by whichever clock comes first: the wall clock runs on while a machine sleeps.
    At { at: Instant, wall: SystemTime },
    /// The token cannot be renewed by us and ends then.
    Ends { wall: SystemTime },
}

/// What a listener is known by, over all of its channels.
pub(super) struct Identity {
    pub(super) id: String,
    /// As the header has them.
    pub(super) labels: String,
}

/// Whether it is the first time that a listener opens a channel, or it was online before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    First,
    Again,
}

impl ControlChannel {
    /// Fetches a token and opens a channel. The connect timeout covers both.
    pub(super) async fn open(checked: &Checked, identity: &Identity, opening: Opening) -> Result<Self> {
        let env = checked.dialer.env().clone();
        let opening = Self::open_unbounded(&env, checked, identity, opening);
        env.timeout(checked.connect_timeout, opening).await.unwrap_or_else(|| {
            let limit = checked.connect_timeout.as_secs_f32();
            Err(Error::new(ErrorKind::Timeout, format!("the listener did not get online within {limit} s")))
        })
    }

    async fn open_unbounded(env: &Env, checked: &Checked, identity: &Identity, opening: Opening) -> Result<Self> {
        let audience = checked.address.audience();
        let new_tokens = checked.credential.as_ref().and_then(TokenProvider::watch);
        let token = match &checked.credential {
            Some(credential) => Some(credential.token(env, &audience).await?),
            None => None,
        };
        let mut handshake = checked
            .dialer
            .to_namespace(&checked.address.listen_uri(&identity.id)?)?
            .unacknowledged(HANDSHAKE_UNACKNOWLEDGED)
            .header(headers::RELAY_USER_AGENT, HeaderValue::from_static(USER_AGENT))
            .header(headers::RELAY_FEATURES, offered_features()?);
        if !identity.labels.is_empty() {
            let labels =
                HeaderValue::from_str(&identity.labels).map_err(|_| Error::invalid("the labels cannot be sent"))?;
            handshake = handshake.header(headers::RELAY_LABELS, labels);
        }
        if let Some(token) = &token {
            handshake = handshake.header(headers::SERVICE_BUS_AUTHORIZATION, token.header_value()?);
        }
        let limit = match opening {
            Opening::First => checked.connect_timeout,
            Opening::Again => checked.connect_timeout.min(ANSWER_LIMIT),
        };
        let upgraded = handshake.open(limit).await.map_err(|error| match error {
            DialError::Failed(error) => error,
            DialError::Refused(refused) => refusal::classify(&refusal::Answer {
                what: &format!("cannot listen on '{}' at {}", checked.entity, checked.address.authority()),
                status: refused.status,
                reason: &refused.reason,
                headers: &refused.headers,
                body: &refused.body,
            }),
        })?;
        let mut channel = Self::new(env, checked, audience, upgraded).await;
        channel.new_tokens = new_tokens;
        channel.schedule(token.as_ref());
        Ok(channel)
    }

    async fn new(env: &Env, checked: &Checked, audience: String, upgraded: Upgraded) -> Self {
        let features = upgraded
            .headers
            .get(headers::RELAY_FEATURES)
            .and_then(|value| value.to_str().ok())
            .map(Features::parse)
            .unwrap_or_default();
        // Small whole messages: tungstenite's default buffers would take 256 KiB for each listener.
        let config = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(512 * 1024)
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        let mut socket = Metered::new(env, upgraded.socket);
        let silence = |interval: Duration| interval.saturating_add(checked.link.keep_alive_deadline);
        socket.set_user_timeout(checked.link.keep_alive.map_or(UNACKNOWLEDGED, silence));
        let socket = Masks::new(env, socket);
        let ws =
            WebSocketStream::from_partially_read(socket, upgraded.read_buf.to_vec(), Role::Client, Some(config)).await;
        Self {
            env: env.clone(),
            pipe: Pipe::new(env, ws),
            keep_alive: checked.link.keep_alive,
            keep_alive_deadline: checked.link.keep_alive_deadline,
            ping_sent: None,
            credential: checked.credential.clone(),
            fetch_limit: checked.connect_timeout,
            new_tokens: None,
            audience,
            renewal: Renewal::Never,
            fetching: None,
            features,
        }
    }

    /// When the token ends for good, if the library cannot renew it.
    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        match self.renewal {
            Renewal::Ends { wall } => Some(wall),
            Renewal::Never | Renewal::At { .. } => None,
        }
    }

    /// The next command of the relay; meanwhile tokens are renewed and silence is watched. An error is the end of the channel.
    ///
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<ControlEvent> {
        loop {
            let wake_at = self.next_deadline();
            let step = {
                let new_token = changed(&mut self.new_tokens);
                let fetched = pending_or(&mut self.fetching);
                let env = &self.env;
                let pipe = &mut self.pipe;
                tokio::select! {
                    biased;
                    step = poll_fn(|cx| poll_pipe(pipe, cx)) => step,
                    () = new_token => Step::NewToken,
                    fetched = fetched => Step::Fetched(fetched),
                    () = async { match wake_at {
                        Some(at) => env.sleep_until(at).await,
                        None => std::future::pending().await,
                    } } => Step::Timer,
                }
            };
            match step {
                Step::Received(message) => {
                    if let Some(event) = receive(message)? {
                        return Ok(event);
                    }
                }
                // The time that it may take is counted from now on.
                Step::Waiting => {}
                Step::NewToken => self.fetch(),
                Step::Fetched(fetched) => {
                    self.fetching = None;
                    self.renew(fetched);
                    return Ok(ControlEvent::Renewed);
                }
                Step::Timer => self.on_timer()?,
            }
        }
    }

    /// Says an answer, as soon as the channel is driven by [`next`](Self::next).
    pub(super) fn push(&mut self, answer: Outgoing) {
        self.pipe.push_answer(answer);
    }

    /// Where answers to requests go. They are lost with the channel.
    pub(super) fn answers(&self) -> mpsc::Sender<Outgoing> {
        self.pipe.answers()
    }

    /// Closes in good order, behind what waits to be said, within `limit`.
    pub(super) async fn close(mut self, limit: Duration) {
        let env = self.env.clone();
        let closing = async {
            if poll_fn(|cx| self.pipe.poll_write(cx)).await.is_err() {
                return;
            }
            let frame = CloseFrame { code: 1000.into(), reason: "Normal Closure".into() };
            if self.pipe.ws.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.pipe.ws.next().await {}
            }
        };
        let _ = env.timeout(limit, closing).await;
    }

    fn next_deadline(&self) -> Option<Instant> {
        let stalled = self.pipe.waiting_since().map(|since| since + self.keep_alive_deadline);
        let keep_alive = match self.ping_sent {
            Some(sent) => Some(sent + self.keep_alive_deadline),
            None => self.keep_alive.map(|interval| self.pipe.ws.get_ref().metered().last_received() + interval),
        };
        let token = match self.renewal {
            Renewal::Never => None,
            Renewal::At { .. } if self.fetching.is_some() => None,
            Renewal::At { at, wall } => Some(at.min(self.look_at_the_clock(wall))),
            Renewal::Ends { wall } => Some(self.look_at_the_clock(wall)),
        };
        keep_alive.into_iter().chain(token).chain(stalled).min()
    }

    /// When to see whether the wall clock has come this far.
    fn look_at_the_clock(&self, wall: SystemTime) -> Instant {
        let left = wall.duration_since(self.env.wall_clock()).unwrap_or_default();
        self.env.now() + left.min(WALL_CLOCK_CHECK)
    }

    fn on_timer(&mut self) -> Result<()> {
        let now = self.env.now();
        let wall_clock = self.env.wall_clock();
        if self.pipe.waiting_since().is_some_and(|since| since + self.keep_alive_deadline <= now) {
            let text = "the relay does not take anything on the control channel";
            return Err(Error::new(ErrorKind::ConnectionLost, text));
        }
        match self.renewal {
            Renewal::At { at, wall } if (at <= now || wall <= wall_clock) && self.fetching.is_none() => self.fetch(),
            Renewal::Ends { wall } if wall <= wall_clock => return Err(expired()),
            _ => {}
        }
        let Some(interval) = self.keep_alive else { return Ok(()) };
        let heard = self.pipe.ws.get_ref().metered().last_received();
        match self.ping_sent {
            Some(sent) if heard >= sent => self.ping_sent = None,
            Some(sent) if now >= sent + self.keep_alive_deadline => {
                return Err(Error::new(ErrorKind::ConnectionLost, "the relay gave no sign of life")
                    .with_reason(format!("no answer to a ping for {} s", self.keep_alive_deadline.as_secs_f32())));
            }
            Some(_) => {}
            None if now >= heard + interval => {
                self.ping_sent = Some(now);
                self.pipe.push(Message::Ping(Bytes::new()));
            }
            None => {}
        }
        Ok(())
    }

    /// Begins to fetch a new token.
    fn fetch(&mut self) {
        let Some(credential) = self.credential.clone() else { return };
        let (env, audience, limit) = (self.env.clone(), self.audience.clone(), self.fetch_limit);
        self.fetching = Some(Box::pin(async move { env.timeout(limit, credential.token(&env, &audience)).await }));
    }

    /// Sends a new token. A provider that failed is asked again later: the channel lives on its old token, and on the relay's grace
    /// after that.
    fn renew(&mut self, fetched: Option<Result<Token>>) {
        match fetched {
            Some(Ok(token)) => {
                let message = crate::protocol::renew_token_json(token.expose());
                self.pipe.push(Message::text(message));
                self.schedule(Some(&token));
                tracing::debug!("the listener's token was renewed");
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the listener's token could not be renewed; trying again");
                self.postpone();
            }
            None => {
                tracing::warn!("the token provider did not answer in time; trying again");
                self.postpone();
            }
        }
    }

    fn postpone(&mut self) {
        if let Renewal::At { .. } | Renewal::Never = self.renewal {
            self.renewal = self.renewal_after(RENEWAL_PAUSE);
        }
    }

    fn renewal_after(&self, delay: Duration) -> Renewal {
        Renewal::At { at: self.env.now() + delay, wall: self.env.wall_clock() + delay }
    }

    fn schedule(&mut self, token: Option<&Token>) {
        self.renewal = match (token.and_then(Token::expires_at), &self.credential) {
            (Some(expires), Some(credential)) => {
                let life = expires.duration_since(self.env.wall_clock()).unwrap_or_default();
                if credential.is_renewable() {
                    self.renewal_after(renewal_delay(life).max(RENEWAL_PAUSE))
                } else {
                    Renewal::Ends { wall: expires }
                }
            }
            _ => Renewal::Never,
        };
    }
}

enum Step {
    Received(Option<Result<Message, WsError>>),
    /// The relay has ceased to take what waits for it.
    Waiting,
    NewToken,
    Fetched(Option<Result<Token>>),
    Timer,
}

fn poll_pipe(pipe: &mut Pipe, cx: &mut Context<'_>) -> Poll<Step> {
    let was_waiting = pipe.waiting_since().is_some();
    match pipe.poll_next(cx) {
        Poll::Ready(message) => Poll::Ready(Step::Received(message)),
        Poll::Pending if pipe.waiting_since().is_some() && !was_waiting => Poll::Ready(Step::Waiting),
        Poll::Pending => Poll::Pending,
    }
}

/// Completes with the future, if there is one.
async fn pending_or<T>(future: &mut Option<BoxFuture<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The name that the relay's presence and logs show.
pub(crate) const USER_AGENT: &str = concat!("hybridrelay-rust/", env!("CARGO_PKG_VERSION"));

fn offered_features() -> Result<HeaderValue> {
    HeaderValue::from_str(&Features::known().to_string())
        .map_err(|_| Error::new(ErrorKind::Internal, "a feature name is not a header value"))
}

/// Completes when the program has set a new ready-made token; never without such a provider.
pub(super) async fn changed(new_tokens: &mut Option<watch::Receiver<Token>>) {
    if let Some(new_tokens) = new_tokens
        && new_tokens.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// What a received message means; `None` for what carries nothing.
fn receive(message: Option<Result<Message, WsError>>) -> Result<Option<ControlEvent>> {
    match message {
        None => Err(Error::new(ErrorKind::ConnectionLost, "the relay ended the control channel without closing it")),
        Some(Err(error)) => Err(lost(error)),
        Some(Ok(Message::Text(text))) => match FromRelay::parse(text.as_bytes()) {
            Ok(command) => Ok(Some(ControlEvent::Message(Box::new(command)))),
            Err(error) => {
                // Tolerated: a message that makes no sense says nothing about the next one (protocol.md 9.2).
                tracing::warn!(%error, "the relay sent a control message that cannot be read");
                Ok(None)
            }
        },
        Some(Ok(Message::Binary(body))) => Ok(Some(ControlEvent::Body(body))),
        Some(Ok(Message::Close(frame))) => {
            let error = Error::new(ErrorKind::ConnectionLost, "the relay closed the control channel");
            Err(match frame {
                Some(frame) => {
                    error.with_close_code(frame.code.into()).with_reason(format!("{} {}", frame.code, frame.reason))
                }
                None => error,
            })
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
    }
}

fn lost(error: WsError) -> Error {
    Error::new(ErrorKind::ConnectionLost, "the control channel broke").with_reason(error.to_string()).with_source(error)
}
