//! The rendezvous of one request: what a listener fetches there, and what it answers there (protocol.md 5.4).

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hybridrelay::CloseFrame;
use hybridrelay::env::Socket;
use hybridrelay::protocol::{self, FromListener, close};
use hybridrelay::ws::{ControlPayload, MessageKind, OpCode};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::exchange::Payload;
use super::frames::{Outbox, Patience, Piece, Reader, Writer};
use super::outlet::{Outlet, ReplyOrSettle};
use super::record::{AtListener, Moved};
use super::response::{Chunk, Head, Source, is_bodyless};
use crate::directory::{Replies, Reply};
use crate::namespace::HttpSettings;
use crate::node::Node;
use crate::refusal::{Reason, Refusal};
use crate::rendezvous::{Ending, PendingLeg, upgraded};

/// The longest frame of a body that is here: each is progress.
const PIECE: usize = 64 << 10;

/// What a listener fetches at the rendezvous.
pub(super) struct Upload {
    /// The request message.
    pub(super) text: String,
    pub(super) body: Payload,
}

/// What the request is about, whoever carries it.
pub(super) struct Task {
    pub(super) node: Arc<Node>,
    pub(super) request_id: String,
    pub(super) method: Method,
    pub(super) settings: HttpSettings,
    pub(super) moved: Arc<Moved>,
    /// Ends the request with the hybrid connection or the relay.
    pub(super) endings: watch::Receiver<Option<Ending>>,
    /// Nobody wants the response: it is read, as long as a response may take to begin, and dropped.
    pub(super) one_way: bool,
    /// Turns true when the listener has been given the whole request.
    pub(super) delivered: watch::Sender<bool>,
    pub(super) _held: Option<AtListener>,
}

/// How the rendezvous ends.
enum End {
    /// The response is complete.
    Done,
    SenderGone,
    /// The request fails; the listener is told the code.
    Failed(Refusal, u16),
    Ending(Ending),
}

impl Task {
    /// Carries a request in the background. `upload` is what the listener has not been given yet. Returns where the head of the response
    /// comes; whoever lets go of that has gone.
    pub(super) fn start(
        self,
        leg: PendingLeg,
        upload: Option<Upload>,
        replies: Replies,
    ) -> oneshot::Receiver<Result<Head, Refusal>> {
        let (head, answered) = oneshot::channel();
        let node = self.node.clone();
        node.spawn(self.carry(leg, upload, replies, head));
        answered
    }

    /// Carries a request from the listener's dial to the end of the response.
    async fn carry(
        self,
        leg: PendingLeg,
        upload: Option<Upload>,
        replies: Replies,
        head: oneshot::Sender<Result<Head, Refusal>>,
    ) {
        let node = self.node.clone();
        // A shutdown waits for the farewell, too.
        let _busy = node.busy.enter();
        let config = node.config();
        let timings = &config.timings;
        let mut outlet = Outlet::new(head);
        let Some(Some((leg, _permit))) = node.env.timeout(timings.upgrade, upgraded(leg)).await else {
            replies.settle();
            return outlet.fail(gone());
        };
        let (read, write) = tokio::io::split(leg.socket);
        let patience = Patience { ping_after: timings.relayed_ping, dead_after: timings.relayed_gone };
        let mut reader = Reader::new(node.env.clone(), read, &leg.read_buf, patience);
        let writer = Mutex::new(Writer::new(write));
        let end = tokio::select! {
            biased;
            () = node.stopped() => End::Ending(Ending::Cut),
            ending = ending(self.endings.clone()) => End::Ending(ending),
            end = self.exchange(&mut reader, &writer, upload, replies, &mut outlet) => end,
        };
        let close = match end {
            End::Done => CloseFrame { code: close::NORMAL, reason: "NormalClosure".to_owned() },
            End::SenderGone => CloseFrame { code: close::GOING_AWAY, reason: "The sender has gone".to_owned() },
            End::Failed(refusal, code) => {
                let reason = refusal.text().to_owned();
                outlet.fail(refusal);
                CloseFrame { code, reason }
            }
            End::Ending(Ending::Drain { close, .. }) => {
                outlet.fail(gone());
                close
            }
            End::Ending(Ending::Cut) => {
                return reader.unsplit(writer.into_inner()).abort();
            }
        };
        drop(outlet);
        farewell(&node, reader, writer.into_inner(), &close).await;
    }

    /// Both directions at once, until the response is complete or nothing can come of it.
    async fn exchange(
        &self,
        reader: &mut Reader,
        writer: &Mutex<Writer>,
        upload: Option<Upload>,
        replies: Replies,
        outlet: &mut Outlet,
    ) -> End {
        let outbox = Outbox::default();
        let answered = AtomicBool::new(false);
        self.delivered.send_replace(upload.is_none());
        let download = self.download(reader, &outbox, replies, &answered, outlet);
        let uploading = async {
            if let Some(upload) = upload {
                if let Err(end) = self.upload(writer, upload, &answered).await {
                    return end;
                }
                self.delivered.send_replace(true);
            }
            pending().await
        };
        let keeping = async {
            outbox.serve(writer).await;
            // Where nothing can be written there is nothing to be read either: that will show.
            pending::<End>().await
        };
        let enough = async {
            if !self.one_way {
                return pending().await;
            }
            self.response_is_due().await;
            // One that has not begun by then is as late as any other, whichever clock shows it first.
            let has_begun = answered.load(Ordering::Relaxed);
            if has_begun { End::Done } else { End::Failed(Refusal::no_response(), close::GOING_AWAY) }
        };
        tokio::select! {
            biased;
            end = download => end,
            end = uploading => end,
            end = keeping => end,
            end = enough => end,
        }
    }

    /// Hands the request over as it comes from the sender.
    async fn upload(&self, writer: &Mutex<Writer>, upload: Upload, answered: &AtomicBool) -> Result<(), End> {
        let Upload { text, body } = upload;
        self.write(writer, OpCode::Text, true, text.into(), answered).await?;
        let (mut body, length) = match body {
            Payload::None => return Ok(()),
            Payload::Whole(body) => return self.upload_whole(writer, body, answered).await,
            Payload::Streamed { body, length } => (body, length),
        };
        let (mut sent, mut opcode) = (0, OpCode::Binary);
        loop {
            let Some(frame) = self.node.env.timeout(self.settings.idle_timeout, body.frame()).await else {
                return Err(End::Failed(Refusal::slow_sender(), close::GOING_AWAY));
            };
            let data = match frame {
                None => break,
                Some(Err(_)) => return Err(End::SenderGone),
                // Trailers have no place in the protocol.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            if data.is_empty() {
                continue;
            }
            sent += data.len() as u64;
            if self.settings.max_body.is_some_and(|most| sent > most) {
                return Err(End::Failed(Refusal::body_too_large(), close::GOING_AWAY));
            }
            self.moved.to_listener(&self.node, data.len()).await;
            let fin = length == Some(sent);
            self.write(writer, opcode, fin, data, answered).await?;
            if fin {
                return Ok(());
            }
            opcode = OpCode::Continuation;
        }
        self.write(writer, opcode, true, Bytes::new(), answered).await
    }

    async fn upload_whole(&self, writer: &Mutex<Writer>, mut body: Bytes, answered: &AtomicBool) -> Result<(), End> {
        let mut opcode = OpCode::Binary;
        loop {
            let piece = body.split_to(body.len().min(PIECE));
            self.moved.to_listener(&self.node, piece.len()).await;
            self.write(writer, opcode, body.is_empty(), piece, answered).await?;
            if body.is_empty() {
                return Ok(());
            }
            opcode = OpCode::Continuation;
        }
    }

    async fn write(
        &self,
        writer: &Mutex<Writer>,
        opcode: OpCode,
        fin: bool,
        payload: Bytes,
        answered: &AtomicBool,
    ) -> Result<(), End> {
        let writing = async { writer.lock().await.frame(opcode, fin, payload).await };
        tokio::pin!(writing);
        match self.node.env.timeout(self.settings.idle_timeout, &mut writing).await {
            Some(Ok(())) => Ok(()),
            None if !answered.load(Ordering::Relaxed) => Err(End::Failed(Refusal::no_response(), close::GOING_AWAY)),
            // It may answer without taking the rest of the request; what becomes of it shows where it is read.
            None => match writing.await {
                Ok(()) => Ok(()),
                Err(_) => pending().await,
            },
            Some(Err(_)) => pending().await,
        }
    }

    /// Takes the response, from here or from the control channel.
    async fn download(
        &self,
        reader: &mut Reader,
        outbox: &Outbox,
        replies: Replies,
        answered: &AtomicBool,
        outlet: &mut Outlet,
    ) -> End {
        let response = match self.head(reader, outbox, replies, outlet).await {
            Ok(Ok(response)) => response,
            Ok(Err(reply)) => {
                outlet.head(Head::from(reply));
                return End::Done;
            }
            Err(end) => return end,
        };
        answered.store(true, Ordering::Relaxed);
        let (body, bodyless) = (response.body, self.one_way || is_bodyless(&self.method, response.status_code));
        let mut source = Source::Whole(Bytes::new());
        if body && !bodyless {
            let (chunks, stream) = mpsc::channel(1);
            outlet.body = Some(chunks);
            source = Source::Streamed(stream);
        }
        if !outlet.head(Head { response, body: source }) {
            return End::SenderGone;
        }
        if body { self.body(reader, outbox, outlet.body.as_ref()).await } else { End::Done }
    }

    /// Waits for the response's text, or for a reply on the control channel.
    async fn head(
        &self,
        reader: &mut Reader,
        outbox: &Outbox,
        replies: Replies,
        outlet: &mut Outlet,
    ) -> Result<Result<protocol::Response, Reply>, End> {
        let too_late = self.response_is_due();
        tokio::pin!(too_late);
        let mut replies = ReplyOrSettle::new(replies);
        let mut text = Vec::new();
        loop {
            let piece = tokio::select! {
                biased;
                () = outlet.gone() => return Err(End::SenderGone),
                reply = replies.next() => return Ok(Err(reply)),
                piece = reader.next() => piece,
                () = &mut too_late => return Err(End::Failed(Refusal::no_response(), close::GOING_AWAY)),
            };
            match piece {
                // The stray empty message of hyco-https (protocol.md 9.1).
                Piece::Data { kind: MessageKind::Binary, bytes, .. } if bytes.is_empty() && text.is_empty() => {}
                Piece::Data { kind: MessageKind::Binary, .. } => {
                    return Err(bad_response("The listener sent a body without a response", close::PROTOCOL_ERROR));
                }
                Piece::Data { bytes, ends, .. } => {
                    text.extend_from_slice(&bytes);
                    if text.len() > self.node.config().limits.control_text {
                        return Err(bad_response("The listener's response is too long", close::TOO_BIG));
                    }
                    if ends {
                        return self.parse(&text).map(Ok);
                    }
                }
                Piece::Ping(payload) => outbox.pong(payload),
                Piece::Silent => outbox.ping(),
                Piece::Close(_) | Piece::Gone => return Err(End::Failed(gone(), close::NORMAL)),
                Piece::Broken(error) => return Err(bad_response(VIOLATION, error.close_code())),
            }
        }
    }

    /// Completes when the listener has had the whole request for as long as its response may take to begin.
    async fn response_is_due(&self) {
        // The other end lives as long as this.
        let _ = self.delivered.subscribe().wait_for(|delivered| *delivered).await;
        self.node.env.sleep(self.settings.response_timeout).await;
    }

    fn parse(&self, text: &[u8]) -> Result<protocol::Response, End> {
        match FromListener::parse(text) {
            Ok(FromListener::Response(response)) if response.request_id == self.request_id => Ok(response),
            Ok(_) => Err(bad_response("The listener's response is to another request", close::PROTOCOL_ERROR)),
            Err(error) => Err(bad_response("The listener's response cannot be read", error.close_code())),
        }
    }

    /// Takes the response's body up to its end: a final frame, or Close 1000 (Java). Without a sender for it, it is swallowed.
    async fn body(&self, reader: &mut Reader, outbox: &Outbox, chunks: Option<&mpsc::Sender<Chunk>>) -> End {
        let (env, limit) = (&self.node.env, self.settings.idle_timeout);
        loop {
            let gone = async {
                match chunks {
                    Some(chunks) => chunks.closed().await,
                    None => pending().await,
                }
            };
            let mut until = std::pin::pin!(env.sleep(limit));
            let piece = tokio::select! {
                biased;
                () = gone => return End::SenderGone,
                piece = data(reader, outbox) => piece,
                () = &mut until => return End::Failed(Refusal::no_response(), close::GOING_AWAY),
            };
            let (bytes, ends) = match piece {
                Piece::Data { bytes, ends, .. } => (bytes, ends),
                Piece::Close(Some(close::NORMAL)) => (Bytes::new(), true),
                Piece::Broken(error) => return bad_response(VIOLATION, error.close_code()),
                _ => return End::Failed(gone_in_body(), close::NORMAL),
            };
            if let Some(chunks) = chunks {
                if !bytes.is_empty() {
                    self.moved.to_sender(&self.node, bytes.len()).await;
                    if chunks.send(Chunk::Data(bytes)).await.is_err() {
                        return End::SenderGone;
                    }
                }
                if ends && chunks.send(Chunk::End).await.is_err() {
                    return End::SenderGone;
                }
            }
            if ends {
                return End::Done;
            }
        }
    }
}

const VIOLATION: &str = "The listener violated the WebSocket protocol";

/// The next piece that is no Ping; what keeps the line alive is no progress of a body.
async fn data(reader: &mut Reader, outbox: &Outbox) -> Piece {
    loop {
        match reader.next().await {
            Piece::Ping(payload) => outbox.pong(payload),
            Piece::Silent => outbox.ping(),
            piece => return piece,
        }
    }
}

pub(super) fn gone() -> Refusal {
    Refusal::bad_gateway(Reason::ListenerGone, "The listener has gone without a response")
}

fn gone_in_body() -> Refusal {
    Refusal::bad_gateway(Reason::ListenerGone, "The listener has gone before the end of its response")
}

fn bad_response(text: &str, code: u16) -> End {
    End::Failed(Refusal::bad_gateway(Reason::BadResponse, text), code)
}

/// Completes when the hybrid connection or the relay ends.
async fn ending(mut endings: watch::Receiver<Option<Ending>>) -> Ending {
    match endings.wait_for(Option::is_some).await.map(|ending| ending.clone()) {
        Ok(Some(ending)) => ending,
        // A signal that nobody can give any more.
        _ => pending().await,
    }
}

/// Says Close, waits for the listener's, and ends the transport.
async fn farewell(node: &Node, mut reader: Reader, mut writer: Writer, frame: &CloseFrame) {
    let payload: ControlPayload = frame.encode();
    let closing = async {
        if writer.control(OpCode::Close, &payload).await.is_ok() {
            reader.drain().await;
            writer.shutdown().await;
        }
    };
    let in_time = tokio::select! {
        biased;
        in_time = node.env.timeout(node.config().timings.control_close, closing) => in_time,
        () = node.stopped() => None,
    };
    if in_time.is_none() {
        reader.unsplit(writer).abort();
    }
}
