//! One control channel: a task that owns the socket (protocol.md 3.4 to 3.7 and 10, decisions 7, 19, 49, 55, 57).

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hybridrelay::CloseFrame;
use hybridrelay::env::{Metered, Socket};
use hybridrelay::protocol::control::{cancel_json, features_json};
use hybridrelay::protocol::{Features, FromListener, Response, close};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::sync::oneshot::error::TryRecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::{self, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::waiting::Waiting;
use crate::auth::{self, Grant};
use crate::directory::{EntityKey, Inbound, Lease, Receipt, Reply};
use crate::edge::{SocketPermit, take_socket};
use crate::instrument::Tapped;
use crate::limits::Permit;
use crate::namespace::Right;
use crate::node::{Counted, Node, Stage};
use crate::observe::{Active, Detail, Operation, Origin};
use crate::rendezvous::Leg;

/// Timers that follow the wall clock look again at least this often, so that a clock that jumps is noticed.
const WALL_CLOCK_CHECK: Duration = Duration::from_secs(60);

/// Up to this much waits for the flush: a request and its body, and several requests, leave in one piece.
const WRITE_BUFFER: usize = 16 * 1024;

/// How many deliveries leave at once at most, so that what the listener says is heard in between.
const BATCH: usize = 32;

pub(super) struct Channel {
    pub(super) node: Arc<Node>,
    pub(super) namespace: String,
    pub(super) key: EntityKey,
    pub(super) origin: Origin,
    pub(super) grant: Grant,
    /// What makes it a listener, until it is none any more.
    pub(super) lease: Lease,
    pub(super) active: Active,
    pub(super) place: Permit,
    pub(super) announce: Option<Features>,
    pub(super) features: Features,
    /// Where a test holds it up and cuts it.
    pub(super) tapped: Option<Tapped>,
    pub(super) _permit: SocketPermit,
    /// A shutdown waits for the channel's farewell.
    pub(super) _busy: Counted,
}

/// Why a channel ends.
#[derive(Debug)]
enum End {
    /// The listener closed; the library answers.
    Closed,
    /// Its transport broke: nobody is left to be told.
    Gone(&'static str),
    /// We close.
    Close(CloseFrame),
    /// We cut the transport.
    Cut(&'static str),
}

/// An open channel.
struct Open {
    channel: Channel,
    ws: WebSocketStream<Metered>,
    /// When it was asked for a sign of life, if nothing came since.
    pinged: Option<Instant>,
    /// When the lost right closes the channel, unless a renewed token brings it back.
    revoked_at: Option<Instant>,
    /// A response announced a body, which is the next binary message.
    body_follows: Option<Announced>,
    waiting: Waiting,
    /// Until when requests may be answered, once the relay drains.
    drains_until: Option<Instant>,
}

/// A response whose body has not come, with whoever waits for both; `None` if nobody does.
type Announced = Option<(mpsc::Sender<Reply>, Response)>;

impl Channel {
    pub(super) async fn run(self, upgrade: OnUpgrade) {
        let (node, origin) = (self.node.clone(), self.origin.clone());
        let reason = match node.env.timeout(node.config().timings.upgrade, upgrade).await {
            Some(Ok(upgraded)) => match take_socket(upgraded) {
                Some((socket, early)) => {
                    let mut open = self.open(Leg { socket, read_buf: early }).await;
                    let end = open.serve().await;
                    open.finish(end).await
                }
                None => "the socket is of a foreign type",
            },
            Some(Err(_)) | None => "the handshake was not finished",
        };
        node.observer.note(&origin, Operation::ListenerUnregistered, Detail::Because(reason.to_owned()));
    }

    fn note(&self, operation: Operation, detail: Detail) {
        self.node.observer.note(&self.origin, operation, detail);
    }

    async fn open(self, leg: Leg) -> Open {
        let Leg { socket, read_buf } = match &self.tapped {
            Some(tapped) => tapped.onto_control(leg),
            None => leg,
        };
        let limits = &self.node.config().limits;
        let most = limits.control_text.max(limits.control_binary);
        // Small whole messages: tungstenite's default buffers would take 256 KiB for each listener.
        let config = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(512 * 1024)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let mut socket = Metered::new(&self.node.env, socket);
        // What is written to a dead path stalls in the network and not here (decision 55).
        socket.set_user_timeout(self.node.config().timings.write_stall);
        let ws = WebSocketStream::from_partially_read(socket, read_buf.to_vec(), Role::Server, Some(config)).await;
        Open {
            channel: self,
            ws,
            pinged: None,
            revoked_at: None,
            body_follows: None,
            waiting: Waiting::default(),
            drains_until: None,
        }
    }
}

impl Open {
    async fn serve(&mut self) -> End {
        if let Some(features) = self.channel.announce.take()
            && let Err(end) = self.write(Message::text(features_json(&features))).await
        {
            return end;
        }
        let mut changes = self.channel.node.store.changes();
        let mut stage = self.channel.node.stage.subscribe();
        loop {
            let now = self.channel.node.env.now();
            if let Some(until) = self.drains_until
                && (until <= now || !self.waiting.has_requests() && self.body_follows.is_none())
            {
                return closing(close::GOING_AWAY, "ServiceShuttingDown");
            }
            let drains = self.drains_until.is_some();
            let wake_at = self.next_deadline();
            let node = self.channel.node.clone();
            let step = tokio::select! {
                biased;
                _ = self.channel.lease.disconnected.wait_for(|cut| *cut) => return End::Cut("disconnected by request"),
                stage = stage.wait_for(|stage| stage.is_ending() && !(drains && matches!(stage, Stage::Draining(_)))) => {
                    match stage.as_deref() {
                        Ok(Stage::Draining(deadline)) => Step::Draining(*deadline),
                        _ => return End::Cut("the relay stopped"),
                    }
                }
                changed = changes.changed() => match changed {
                    Ok(()) => Step::StoreChanged,
                    Err(_) => return End::Cut("the relay stopped"),
                },
                message = self.ws.next() => Step::Received(message),
                withdrawn = self.waiting.ended() => Step::Ended(withdrawn),
                inbound = self.channel.lease.inbox.recv() => match inbound {
                    Some(inbound) => Step::Deliver(inbound),
                    None => return End::Cut("the directory let go"),
                },
                () = node.env.sleep_until(wake_at) => Step::Timer,
            };
            let outcome = match step {
                Step::Received(message) => self.received(message).await,
                Step::Deliver(inbound) => self.deliver(inbound).await,
                Step::Ended(withdrawn) => self.ended(withdrawn).await,
                Step::Draining(deadline) => {
                    // No new request comes. Those that were given may be answered, as long as there is time for a farewell.
                    let farewell = node.config().timings.control_close;
                    self.drains_until = Some(deadline.checked_sub(farewell).unwrap_or(now));
                    Ok(())
                }
                Step::StoreChanged => self.judge_again(),
                Step::Timer => self.on_timer().await,
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    /// Hands over a delivery, and those that wait behind it.
    async fn deliver(&mut self, inbound: Inbound) -> Result<(), End> {
        let (mut next, mut count) = (Some(inbound), 0);
        let (mut rooms, mut receipts) = (Vec::new(), Vec::new());
        while let Some(Inbound { delivery, mut reply_to, room }) = next {
            let mut receipt = reply_to.receipt.take();
            // Whoever gave a one-way request up was told that nobody has it.
            if receipt.is_none() || reply_to.settled.try_recv() == Err(TryRecvError::Empty) {
                receipt.iter_mut().for_each(Receipt::begins);
                receipts.extend(receipt);
                self.feed(Message::text(delivery.text)).await?;
                // Exactly one binary message, and nothing in between (protocol.md 5.3).
                if let Some(body) = delivery.body {
                    self.feed(Message::Binary(body)).await?;
                }
                rooms.push(room);
                self.waiting.add(delivery.request_id, reply_to, delivery.one_way);
            }
            count += 1;
            next = if count < BATCH { self.channel.lease.inbox.try_recv().ok() } else { None };
        }
        self.flush().await?;
        drop(rooms);
        receipts.into_iter().for_each(Receipt::ends);
        Ok(())
    }

    /// Somebody does not wait any more. If the sender of a request has gone, a listener that wants to know is told.
    async fn ended(&mut self, withdrawn: Option<String>) -> Result<(), End> {
        match withdrawn {
            Some(id) if self.channel.features.has(Features::CANCEL) => {
                self.write(Message::text(cancel_json(&id))).await
            }
            _ => Ok(()),
        }
    }

    async fn received(&mut self, message: Option<Result<Message, WsError>>) -> Result<(), End> {
        self.pinged = None;
        self.channel.lease.presence.heard(self.ws.get_ref().last_received());
        let limits = &self.channel.node.config().limits;
        match message {
            None => Err(End::Gone("the listener ended the connection")),
            Some(Err(error)) => Err(broken(&error)),
            Some(Ok(Message::Text(_))) if self.body_follows.is_some() => {
                Err(closing(close::PROTOCOL_ERROR, "a text message came where a body was announced"))
            }
            Some(Ok(Message::Text(text))) if text.len() > limits.control_text => {
                Err(closing(close::TOO_BIG, "a control message is too long"))
            }
            Some(Ok(Message::Text(text))) => self.command(text.as_bytes()),
            Some(Ok(Message::Binary(body))) => {
                match self.body_follows.take() {
                    Some(announced) => self.answer(announced, Some(body)),
                    // Node sends a stray empty message after some responses (protocol.md 9.1).
                    None if body.is_empty() => {}
                    None => return Err(closing(close::PROTOCOL_ERROR, "a binary message was not announced")),
                }
                Ok(())
            }
            // Answered by the library while the stream is read to its end.
            Some(Ok(Message::Close(_))) => Err(End::Closed),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
        }
    }

    fn command(&mut self, text: &[u8]) -> Result<(), End> {
        match FromListener::parse(text) {
            Ok(FromListener::RenewToken(renewal)) => self.renew(&renewal.token),
            Ok(FromListener::Response(response)) => self.respond(response),
            Ok(unknown) => {
                tracing::debug!(tracking_id = %self.channel.origin.tracking_id, ?unknown, "an unknown command was ignored")
            }
            Err(error) => return Err(closing(error.close_code(), &error.to_string())),
        }
        Ok(())
    }

    /// A response to something unknown, finished or given up is swallowed with its body (protocol.md 5.5).
    fn respond(&mut self, response: Response) {
        let body_follows = response.body;
        let announced = self.waiting.take(&response.request_id).map(|replies| (replies, response));
        if body_follows {
            self.body_follows = Some(announced);
        } else {
            self.answer(announced, None);
        }
    }

    fn answer(&mut self, announced: Announced, body: Option<bytes::Bytes>) {
        if let Some((replies, response)) = announced {
            // There is room for the one answer, unless the sender has gone.
            let _ = replies.try_send(Reply { response, body });
        }
    }

    /// A token that is no good is ignored: the old one keeps its expiry and grace (decision 7).
    fn renew(&mut self, token: &str) {
        let channel = &mut self.channel;
        let snapshot = channel.node.store.snapshot();
        let Some(namespace) = snapshot.namespace(&channel.namespace) else { return };
        let entity = namespace.entity(channel.key.path());
        let wanted = auth::Request { namespace, entity, path: channel.key.path(), right: Right::Listen };
        match auth::authorize(&channel.node.env, &channel.node.config(), wanted, Some(token)) {
            Ok(grant) => {
                channel.origin.key_name = Some(grant.key.rule.clone());
                channel.grant = grant;
                self.revoked_at = None;
                channel.note(Operation::TokenRenewed, Detail::None);
            }
            Err(refusal) => {
                let text = format!("a renewal was ignored: {}", refusal.text());
                channel.note(Operation::InvalidSasToken, Detail::Because(text));
            }
        }
    }

    /// Rules, keys or hybrid connections have changed.
    fn judge_again(&mut self) -> Result<(), End> {
        let channel = &self.channel;
        let snapshot = channel.node.store.snapshot();
        let namespace = snapshot.namespace(&channel.namespace);
        let Some((namespace, entity)) =
            namespace.and_then(|namespace| Some((namespace, namespace.entity(channel.key.path())?)))
        else {
            return Err(closing(close::GOING_AWAY, "The endpoint was deleted"));
        };
        let path = channel.key.path();
        let wanted = auth::Request { namespace, entity: Some(entity), path, right: Right::Listen };
        if channel.grant.still_stands(wanted) {
            self.revoked_at = None;
        } else if self.revoked_at.is_none() {
            self.revoked_at = Some(channel.node.env.now() + channel.node.config().timings.revocation);
        }
        Ok(())
    }

    fn next_deadline(&self) -> Instant {
        let node = &self.channel.node;
        let timings = &node.config().timings;
        let life = match self.pinged {
            // A relay that slept for longer asks all the same, and waits as long for the answer.
            Some(asked) => asked + timings.control_gone.saturating_sub(timings.control_ping),
            None => self.ws.get_ref().last_received() + timings.control_ping,
        };
        let expiry = node.env.now() + self.until_expiry().min(WALL_CLOCK_CHECK);
        [Some(life), Some(expiry), self.revoked_at, self.drains_until].into_iter().flatten().min().unwrap_or(life)
    }

    /// How long the token and its grace still hold.
    fn until_expiry(&self) -> Duration {
        let end = self.channel.grant.expires_at + self.channel.node.config().timings.expiry_grace;
        end.duration_since(self.channel.node.env.wall_clock()).unwrap_or_default()
    }

    async fn on_timer(&mut self) -> Result<(), End> {
        let now = self.channel.node.env.now();
        if self.until_expiry().is_zero() {
            self.channel.note(Operation::ListenerClosingFromExpiredToken, Detail::None);
            return Err(closing(close::POLICY_VIOLATION, "ExpiredToken: The token has expired"));
        }
        if self.revoked_at.is_some_and(|at| at <= now) {
            return Err(closing(close::POLICY_VIOLATION, "InvalidToken: The token's rule or key has changed"));
        }
        let timings = &self.channel.node.config().timings;
        let heard = self.ws.get_ref().last_received();
        // A part of a message was life as well.
        self.pinged = self.pinged.filter(|asked| heard < *asked);
        let Some(asked) = self.pinged else {
            if now.saturating_duration_since(heard) >= timings.control_ping {
                self.pinged = Some(now);
                self.write(Message::Ping(bytes::Bytes::new())).await?;
            }
            return Ok(());
        };
        if now.saturating_duration_since(asked) >= timings.control_gone.saturating_sub(timings.control_ping) {
            self.channel.note(Operation::ListenerUnresponsive, Detail::None);
            return Err(End::Cut("the listener gave no sign of life"));
        }
        Ok(())
    }

    /// Writes one message.
    async fn write(&mut self, message: Message) -> Result<(), End> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Takes a message on, to be written with the next flush at the latest.
    async fn feed(&mut self, message: Message) -> Result<(), End> {
        let node = self.channel.node.clone();
        taken(node.env.timeout(node.config().timings.write_stall, self.ws.feed(message)).await)
    }

    async fn flush(&mut self) -> Result<(), End> {
        let node = self.channel.node.clone();
        taken(node.env.timeout(node.config().timings.write_stall, self.ws.flush()).await)
    }

    /// Ends the channel. Before the last word is said it is out of the directory, so that no sender is sent here any more, and
    /// those who wait for this listener are free to try another.
    async fn finish(self, end: End) -> &'static str {
        let Self { channel, mut ws, waiting, .. } = self;
        let Channel { node, lease, active, place, _permit, _busy, .. } = channel;
        drop((lease, active, place, waiting));
        let (frame, reason) = match end {
            End::Close(frame) => (Some(frame), "closed by the relay"),
            End::Closed => (None, "closed by the listener"),
            End::Gone(reason) => return reason,
            End::Cut(reason) => {
                ws.get_mut().abort();
                return reason;
            }
        };
        let farewell = async {
            let mut both_closed = frame.is_none();
            if let Some(frame) = frame {
                let frame = protocol::CloseFrame { code: frame.code.into(), reason: frame.reason.into() };
                if ws.close(Some(frame)).await.is_err() {
                    return;
                }
            }
            // Answers a Close that came, or waits for the answer to ours.
            while let Some(Ok(message)) = ws.next().await {
                both_closed |= message.is_close();
            }
            let socket = ws.get_mut();
            if socket.shutdown().await.is_ok() && !both_closed {
                // What comes after a violation is not understood, but has to be read: a socket that is dropped with unread
                // bytes resets, and the reset may overtake the Close that tells why.
                let mut discarded = [0; 4 * 1024];
                while let Ok(1..) = socket.read(&mut discarded).await {}
            }
        };
        let in_time = tokio::select! {
            biased;
            in_time = node.env.timeout(node.config().timings.control_close, farewell) => in_time.is_some(),
            () = node.stopped() => false,
        };
        if !in_time {
            ws.get_mut().abort();
        }
        reason
    }
}

enum Step {
    Received(Option<Result<Message, WsError>>),
    Deliver(Inbound),
    Ended(Option<String>),
    Draining(Instant),
    StoreChanged,
    Timer,
}

fn closing(code: u16, reason: &str) -> End {
    End::Close(CloseFrame { code, reason: reason.to_owned() })
}

/// How a write went; a listener that takes nothing for too long is dead (decision 55).
fn taken(written: Option<Result<(), WsError>>) -> Result<(), End> {
    match written {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(broken(&error)),
        None => Err(End::Cut("the listener took nothing")),
    }
}

/// What a failing stream means: a violation is answered, a broken transport is not.
fn broken(error: &WsError) -> End {
    match error {
        WsError::Utf8(_) => closing(close::INVALID_DATA, "text is not UTF-8"),
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => {
            closing(close::TOO_BIG, "a control message is too long")
        }
        WsError::Capacity(_) | WsError::WriteBufferFull(_) => closing(close::TOO_BIG, "too much at once"),
        WsError::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            End::Gone("the listener ended the connection")
        }
        WsError::Protocol(_) => closing(close::PROTOCOL_ERROR, "the WebSocket protocol was violated"),
        _ => End::Gone("the connection broke"),
    }
}
