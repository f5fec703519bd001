//! Relayed connections, requests and control channels that a test looks at, holds up and cuts: a tap on both sockets of a connection, on
//! both bodies of a request, on the one socket of a control channel.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http::Method;
use hybridrelay::env::{BoxSocket, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::directory::EntityKey;
use crate::node::lock;
use crate::observe::Party;
use crate::rendezvous::Leg;

/// No limit.
const ENDLESS: u64 = u64::MAX;

/// Names one relayed connection, request or control channel of a relay. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A relayed connection that is open, an HTTP request that is under way, or a listener's control channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenConnection {
    /// The connection.
    pub id: ConnectionId,
    /// The hybrid connection.
    pub entity: EntityKey,
    /// The id under which the relay's events know it.
    pub tracking_id: String,
    /// Of an HTTP request.
    pub method: Option<String>,
    /// Bytes that the sender has sent, as they are on the wire: payload, and the headers of its frames. Of a request those of its body
    /// that a listener was given. Of a control channel none.
    pub from_sender: u64,
    /// Bytes that the listener has sent, counted in the same way. Of a request those of the response's body that the sender was given. Of a
    /// control channel all behind its handshake.
    pub from_listener: u64,
    /// Whether it is held up.
    pub stalled: bool,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The relayed connections of one relay.
#[derive(Default)]
pub(crate) struct Taps(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    taps: BTreeMap<u64, Arc<Tap>>,
    last: u64,
    /// After how many bytes those are cut that come next.
    limits: VecDeque<u64>,
}

/// What somebody's tap is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// A relayed connection or a request.
    Relayed,
    /// A listener's control channel.
    Control,
}

/// A connection's place in the list, for as long as it is there.
pub(crate) struct Tapped {
    table: Arc<Mutex<Table>>,
    tap: Arc<Tap>,
}

impl Taps {
    pub(super) fn enter(&self, entity: &EntityKey, tracking_id: String, method: Option<&Method>) -> Tapped {
        self.add(On::Relayed, entity, tracking_id, method)
    }

    pub(super) fn enter_control(&self, entity: &EntityKey, tracking_id: String) -> Tapped {
        self.add(On::Control, entity, tracking_id, None)
    }

    fn add(&self, on: On, entity: &EntityKey, tracking_id: String, method: Option<&Method>) -> Tapped {
        let mut table = lock(&self.0);
        table.last += 1;
        let limit = match on {
            On::Relayed => table.limits.pop_front(),
            // The limits are for what is relayed.
            On::Control => None,
        };
        let tap = Arc::new(Tap {
            id: table.last,
            on,
            entity: entity.clone(),
            tracking_id,
            method: method.map(Method::to_string),
            from_sender: AtomicU64::default(),
            from_listener: AtomicU64::default(),
            limit: AtomicU64::new(limit.unwrap_or(ENDLESS)),
            stalled: AtomicBool::default(),
            moving: Mutex::default(),
            tasks: Default::default(),
        });
        table.taps.insert(tap.id, tap.clone());
        Tapped { table: self.0.clone(), tap }
    }

    /// What is relayed.
    pub(crate) fn relayed(&self) -> Vec<OpenConnection> {
        self.list(On::Relayed)
    }

    /// The control channels.
    pub(crate) fn controls(&self) -> Vec<OpenConnection> {
        self.list(On::Control)
    }

    fn list(&self, on: On) -> Vec<OpenConnection> {
        lock(&self.0).taps.values().filter(|tap| tap.on == on).map(|tap| tap.describe()).collect()
    }

    /// Holds a connection up or lets it go on; `false` if it has ended.
    pub(crate) fn stall(&self, id: ConnectionId, stalled: bool) -> bool {
        let Some(tap) = self.find(id) else { return false };
        tap.stalled.store(stalled, Ordering::SeqCst);
        // Whoever moves bytes at this moment has looked before.
        drop(tap.moving());
        tap.wake();
        true
    }

    /// Cuts a connection after so many bytes from now on; `false` if it has ended.
    pub(crate) fn cut_after(&self, id: ConnectionId, bytes: u64) -> bool {
        let Some(tap) = self.find(id) else { return false };
        tap.limit.store(tap.moved().saturating_add(bytes), Ordering::SeqCst);
        tap.wake();
        true
    }

    /// Cuts the next connection after so many bytes.
    pub(crate) fn cut_next_after(&self, bytes: u64) {
        lock(&self.0).limits.push_back(bytes);
    }

    fn find(&self, id: ConnectionId) -> Option<Arc<Tap>> {
        lock(&self.0).taps.get(&id.0).cloned()
    }
}

impl Tapped {
    /// For whoever moves the bytes of a request.
    pub(crate) fn tap(&self) -> Arc<Tap> {
        self.tap.clone()
    }

    /// Puts the tap between a connection and its sockets.
    pub(crate) fn onto(&self, sender: Leg, listener: Leg) -> (Leg, Leg) {
        (self.onto_leg(sender, Party::Sender), self.onto_leg(listener, Party::Listener))
    }

    /// Puts it between a control channel and its socket.
    pub(crate) fn onto_control(&self, listener: Leg) -> Leg {
        self.onto_leg(listener, Party::Listener)
    }

    fn onto_leg(&self, Leg { socket, read_buf }: Leg, from: Party) -> Leg {
        let socket = TappedSocket { socket, early: read_buf, tap: self.tap.clone(), from };
        Leg { socket: Box::new(socket), read_buf: Bytes::new() }
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        lock(&self.table).taps.remove(&self.tap.id);
    }
}

/// What a test and the tasks of a connection or a request share.
pub(crate) struct Tap {
    id: u64,
    on: On,
    entity: EntityKey,
    tracking_id: String,
    method: Option<String>,
    from_sender: AtomicU64,
    from_listener: AtomicU64,
    /// Both directions together; then it is cut.
    limit: AtomicU64,
    stalled: AtomicBool,
    /// Held from the look at `stalled` until bytes have moved.
    moving: Mutex<()>,
    /// Who moves what the sender says, and what the listener does. Of a connection both are one task.
    tasks: [AtomicWaker; 2],
}

impl Tap {
    fn describe(&self) -> OpenConnection {
        OpenConnection {
            id: ConnectionId(self.id),
            entity: self.entity.clone(),
            tracking_id: self.tracking_id.clone(),
            method: self.method.clone(),
            from_sender: self.from_sender.load(Ordering::SeqCst),
            from_listener: self.from_listener.load(Ordering::SeqCst),
            stalled: self.is_stalled(),
        }
    }

    fn moved(&self) -> u64 {
        self.from_sender.load(Ordering::SeqCst) + self.from_listener.load(Ordering::SeqCst)
    }

    /// How much may still be read before the connection is cut.
    fn left(&self) -> u64 {
        match self.limit.load(Ordering::SeqCst) {
            ENDLESS => ENDLESS,
            limit => limit.saturating_sub(self.moved()),
        }
    }

    fn heard(&self, from: Party, bytes: usize) {
        let counter = match from {
            Party::Sender => &self.from_sender,
            Party::Listener => &self.from_listener,
        };
        counter.fetch_add(bytes as u64, Ordering::SeqCst);
        if self.left() == 0 {
            self.wake();
        }
    }

    fn moving(&self) -> MutexGuard<'_, ()> {
        lock(&self.moving)
    }

    fn task(&self, from: Party) -> &AtomicWaker {
        &self.tasks[usize::from(from == Party::Listener)]
    }

    fn wake(&self) {
        self.tasks.iter().for_each(AtomicWaker::wake);
    }

    /// Counts bytes of a request's body once they may move.
    pub(crate) async fn move_up(&self, bytes: usize) {
        poll_fn(|cx| {
            self.task(Party::Sender).register(cx.waker());
            let _moving = self.moving();
            if self.is_stalled() {
                return Poll::Pending;
            }
            self.heard(Party::Sender, bytes);
            Poll::Ready(())
        })
        .await;
    }

    /// Waits until a response may go to the sender; `false` if it is cut.
    pub(crate) async fn is_let_through(&self) -> bool {
        poll_fn(|cx| self.poll_down(cx)).await > 0
    }

    /// Ready when it is cut.
    pub(crate) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.task(Party::Listener).register(cx.waker());
        if self.left() == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// How many bytes of a response may go to the sender; 0 if it is cut. Whatever comes of it, a change wakes.
    pub(crate) fn poll_down(&self, cx: &mut Context<'_>) -> Poll<u64> {
        self.task(Party::Listener).register(cx.waker());
        match self.left() {
            0 => Poll::Ready(0),
            _ if self.is_stalled() => Poll::Pending,
            left => Poll::Ready(left),
        }
    }

    /// Counts bytes of a response's body.
    pub(crate) fn moved_down(&self, bytes: usize) {
        self.heard(Party::Listener, bytes);
    }

    fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::SeqCst)
    }
}

/// One of the sockets behind a tap.
struct TappedSocket {
    socket: BoxSocket,
    /// What came together with the handshake.
    early: Bytes,
    tap: Arc<Tap>,
    from: Party,
}

impl TappedSocket {
    fn cut(&mut self) -> io::Error {
        self.socket.abort();
        io::ErrorKind::ConnectionReset.into()
    }

    /// Ready where bytes may move.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tap.is_stalled() {
            self.tap.task(self.from).register(cx.waker());
            // It may have been let go in between.
            if self.tap.is_stalled() {
                return self.or_cut();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits, unless it is cut while it does. Whoever comes here has registered the task.
    fn or_cut<T>(&mut self) -> Poll<io::Result<T>> {
        if self.tap.left() == 0 { Poll::Ready(Err(self.cut())) } else { Poll::Pending }
    }

    /// What a write came to: it may wait for a peer that takes nothing, and the cut does not.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            return written;
        }
        self.tap.task(self.from).register(cx.waker());
        self.or_cut()
    }

    fn poll_input(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buf);
        }
        let len = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..len]);
        self.early.advance(len);
        if self.early.is_empty() {
            // An empty rest would still hold the buffer of the handshake.
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads at most so many bytes.
    fn poll_some(&mut self, most: u64, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if most >= buf.remaining() {
            return self.poll_input(cx, buf);
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(self.poll_input(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl Socket for TappedSocket {
    fn abort(&mut self) {
        self.socket.abort();
    }

    fn peer_addr(&self) -> SocketAddr {
        self.socket.peer_addr()
    }

    fn set_user_timeout(&mut self, limit: Duration) {
        self.socket.set_user_timeout(limit);
    }
}

impl AsyncRead for TappedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = this.tap.left();
        if left == 0 {
            return Poll::Ready(Err(this.cut()));
        }
        let tap = this.tap.clone();
        let _moving = tap.moving();
        ready!(this.poll_open(cx))?;
        let before = buf.filled().len();
        let read = this.poll_some(left, cx, buf);
        if read.is_pending() {
            this.tap.task(this.from).register(cx.waker());
            return this.or_cut();
        }
        this.tap.heard(this.from, buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for TappedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tap = this.tap.clone();
        let _moving = tap.moving();
        ready!(this.poll_open(cx))?;
        let written = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.written(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let tap = this.tap.clone();
        let _moving = tap.moving();
        ready!(this.poll_open(cx))?;
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tap = this.tap.clone();
        let _moving = tap.moving();
        ready!(this.poll_open(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let tap = this.tap.clone();
        let _moving = tap.moving();
        ready!(this.poll_open(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::task::Waker;
    use std::thread;

    use super::*;

    /// Tells that it is read from, and brings a byte when it may.
    struct Slow(SyncSender<()>, Receiver<()>);

    impl AsyncRead for Slow {
        fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.0.send(()).expect("the test waits");
            self.1.recv().expect("the test tells");
            buf.put_slice(b"x");
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Socket for Slow {
        fn abort(&mut self) {}

        fn peer_addr(&self) -> SocketAddr {
            ([127, 0, 0, 1], 1).into()
        }
    }

    #[test]
    fn nothing_moves_once_a_connection_is_stalled() {
        let taps = Taps::default();
        let tapped = taps.enter(&EntityKey::new("example.net", "hyco"), String::new(), None);
        let ((reads, is_read), (go_on, may_go_on)) = (sync_channel(0), sync_channel(0));
        let leg = |socket| Leg { socket: Box::new(socket), read_buf: Bytes::new() };
        let (mut sender, _) = tapped.onto(leg(Slow(reads, may_go_on)), leg(Slow(sync_channel(0).0, sync_channel(0).1)));
        let (id, counted) = (taps.relayed()[0].id, || taps.relayed()[0].from_sender);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut byte = [0];
                let mut cx = Context::from_waker(Waker::noop());
                assert!(Pin::new(&mut sender.socket).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_ready());
            });
            is_read.recv().expect("it is read from");
            let stalling = scope.spawn(|| {
                assert!(taps.stall(id, true));
                counted()
            });
            while !taps.relayed()[0].stalled {
                thread::yield_now();
            }
            go_on.send(()).expect("it waits");
            assert_eq!(stalling.join().expect("no panic"), 1, "what was under way has moved");
        });
        assert_eq!(counted(), 1);
    }
}
