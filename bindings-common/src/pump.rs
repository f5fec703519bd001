//! A relayed byte stream between two bounded buffers, for hosts with an event loop of their own.
//!
//! The host never waits here and no task waits in the host: what has come lies in a buffer until the host takes it, what is to leave in
//! another until the network does. The host is woken once, however much happens until it looks; so a loop that is busy is not woken
//! more often than it can look.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use hybridrelay::{ByteStream, Connection, Error, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::errors::{Failure, Result};
use crate::process::Birth;
use crate::{lock, runtime};

/// How a host learns that it should look at a pump. Called from a thread of the runtime, so it does no more than pass it on.
pub trait Wake: Send + Sync + 'static {
    /// Something has happened since the host [began to look](Pump::look).
    fn wake(&self);
}

impl<F: Fn() + Send + Sync + 'static> Wake for F {
    fn wake(&self) {
        self();
    }
}

/// How much a pump holds at most. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of what has come and was not taken: 256 KiB, and one chunk more.
    pub inbound: usize,
    /// Of one piece that is handed over: 64 KiB.
    pub chunk: usize,
    /// Above it a write says that the host should pause: 256 KiB. It is taken all the same.
    pub high_water: usize,
    /// Down to here the host may go on: 64 KiB.
    pub low_water: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inbound: 256 << 10, chunk: 64 << 10, high_water: 256 << 10, low_water: 64 << 10 }
    }
}

/// What has come.
#[derive(Debug)]
pub enum Read {
    /// Bytes, never empty.
    Data(Bytes),
    /// Nothing yet: the host is woken.
    Pending,
    /// The peer has closed its direction, and everything was taken.
    End,
}

/// A pump. Dropping it without an end in both directions aborts the connection.
pub struct Pump {
    shared: Arc<Shared>,
    connection: Connection,
    tasks: [AbortHandle; 2],
    birth: Birth,
}

struct Shared {
    limits: Limits,
    wake: Box<dyn Wake>,
    /// The host has been woken and has not looked since.
    woken: AtomicBool,
    inbound: Mutex<Inbound>,
    outbound: Mutex<Outbound>,
    /// There is room for what comes, or the host reads again.
    room: Notify,
    /// There is something to write, or the end of it.
    work: Notify,
}

#[derive(Default)]
struct Inbound {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    paused: bool,
    end: Option<Result<(), Error>>,
}

#[derive(Default)]
struct Outbound {
    chunks: VecDeque<Bytes>,
    /// What lies here and what the writing task holds.
    bytes: usize,
    high_water: usize,
    low_water: usize,
    /// The host was told to pause.
    is_high: bool,
    end_wanted: bool,
    end: Option<Result<(), Error>>,
}

impl Pump {
    /// Begins to read and to write.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if there is no runtime.
    pub fn start(stream: ByteStream, limits: Limits, wake: impl Wake) -> Result<Self> {
        let runtime = runtime::handle()?;
        let shared = Arc::new(Shared {
            limits,
            wake: Box::new(wake),
            woken: AtomicBool::new(false),
            inbound: Mutex::default(),
            outbound: Mutex::new(Outbound {
                high_water: limits.high_water,
                low_water: limits.low_water,
                ..Outbound::default()
            }),
            room: Notify::new(),
            work: Notify::new(),
        });
        let connection = stream.connection().clone();
        let (reader, writer) = tokio::io::split(stream);
        let reading = runtime.spawn(read(shared.clone(), reader)).abort_handle();
        let writing = runtime.spawn(write(shared.clone(), writer)).abort_handle();
        Ok(Self { shared, connection, tasks: [reading, writing], birth: Birth::here() })
    }

    /// Begins to look: what happens from now on wakes the host again. Then the host reads until `Pending`, and looks whether it may
    /// write.
    pub fn look(&self) {
        self.shared.woken.store(false, Ordering::SeqCst);
    }

    /// Takes what has come, at most a chunk. Never waits.
    ///
    /// # Errors
    ///
    /// Why the stream ended before its time, behind everything that came; the same each time. `FORKED` in a child.
    pub fn read(&self) -> Result<Read> {
        self.birth.check()?;
        let mut inbound = lock(&self.shared.inbound);
        if let Some(chunk) = inbound.chunks.pop_front() {
            let was_full = inbound.bytes >= self.shared.limits.inbound;
            inbound.bytes -= chunk.len();
            if was_full && inbound.bytes < self.shared.limits.inbound {
                self.shared.room.notify_one();
            }
            return Ok(Read::Data(chunk));
        }
        match &inbound.end {
            None => Ok(Read::Pending),
            Some(Ok(())) => Ok(Read::End),
            Some(Err(error)) => Err(error.clone().into()),
        }
    }

    /// Stops reading, as soon as the task has what it is at: the peer is slowed down by the network.
    pub fn pause(&self) {
        lock(&self.shared.inbound).paused = true;
    }

    /// Goes on reading.
    pub fn resume(&self) {
        lock(&self.shared.inbound).paused = false;
        self.shared.room.notify_one();
    }

    /// Takes bytes to be written. `false`: so much waits that the host should pause until it is woken and [`may_write`](Self::may_write).
    ///
    /// # Errors
    ///
    /// Why nothing can be written any more; `CLOSED` behind [`end`](Self::end). `FORKED` in a child.
    pub fn write(&self, data: Bytes) -> Result<bool> {
        self.birth.check()?;
        let mut outbound = lock(&self.shared.outbound);
        match &outbound.end {
            Some(Err(error)) => return Err(error.clone().into()),
            Some(Ok(())) => return Err(closed()),
            None if outbound.end_wanted => return Err(closed()),
            None => {}
        }
        if !data.is_empty() {
            outbound.bytes += data.len();
            outbound.chunks.push_back(data);
            outbound.is_high |= outbound.bytes > outbound.high_water;
            self.shared.work.notify_one();
        }
        Ok(!outbound.is_high)
    }

    /// Whether the host need not pause.
    pub fn may_write(&self) -> bool {
        !lock(&self.shared.outbound).is_high
    }

    /// Moves the marks between which writes pause and go on. Returns whether the host need not pause.
    pub fn set_water(&self, high: usize, low: usize) -> bool {
        let mut outbound = lock(&self.shared.outbound);
        (outbound.high_water, outbound.low_water) = (high, low);
        outbound.is_high = outbound.bytes > if outbound.is_high { low } else { high };
        !outbound.is_high
    }

    /// How many bytes wait to be written.
    pub fn unwritten(&self) -> usize {
        lock(&self.shared.outbound).bytes
    }

    /// Closes the writing direction behind what waits. The host is woken when that has been done; see [`ended`](Self::ended).
    pub fn end(&self) {
        lock(&self.shared.outbound).end_wanted = true;
        self.shared.work.notify_one();
    }

    /// Whether everything was written and the direction closed; `None` while it is not.
    pub fn ended(&self) -> Option<Result<()>> {
        lock(&self.shared.outbound).end.clone().map(|end| end.map_err(Failure::Core))
    }

    /// Ends both directions at once: the peer sees an error. What waits is lost.
    pub fn abort(&self) {
        self.connection.abort();
    }

    /// The connection below.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if self.birth.check().is_err() {
            // The parent goes on using it.
            return;
        }
        let read_all = matches!(lock(&self.shared.inbound).end, Some(Ok(())));
        let wrote_all = matches!(lock(&self.shared.outbound).end, Some(Ok(())));
        if !(read_all && wrote_all) {
            self.connection.abort();
        }
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inbound, outbound) = (lock(&self.shared.inbound).bytes, self.unwritten());
        f.debug_struct("Pump").field("inbound", &inbound).field("outbound", &outbound).finish_non_exhaustive()
    }
}

impl Shared {
    fn wake(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.wake.wake();
        }
    }

    fn wants_more(&self) -> bool {
        let inbound = lock(&self.inbound);
        !inbound.paused && inbound.bytes < self.limits.inbound
    }
}

async fn read(shared: Arc<Shared>, mut stream: ReadHalf<ByteStream>) {
    let mut buffer = BytesMut::new();
    let end = loop {
        while !shared.wants_more() {
            shared.room.notified().await;
        }
        buffer.reserve(shared.limits.chunk);
        match stream.read_buf(&mut buffer).await {
            Ok(0) => break Ok(()),
            Ok(_) => {
                let mut inbound = lock(&shared.inbound);
                inbound.bytes += buffer.len();
                while !buffer.is_empty() {
                    let chunk = buffer.split_to(buffer.len().min(shared.limits.chunk)).freeze();
                    inbound.chunks.push_back(chunk);
                }
                drop(inbound);
                shared.wake();
            }
            Err(error) => break Err(to_core(error)),
        }
    };
    lock(&shared.inbound).end = Some(end);
    shared.wake();
}

async fn write(shared: Arc<Shared>, mut stream: WriteHalf<ByteStream>) {
    let end = loop {
        let (chunk, end_wanted) = {
            let mut outbound = lock(&shared.outbound);
            (outbound.chunks.pop_front(), outbound.end_wanted)
        };
        match chunk {
            Some(chunk) => {
                if let Err(error) = stream.write_all(&chunk).await {
                    break Err(to_core(error));
                }
                let mut outbound = lock(&shared.outbound);
                outbound.bytes -= chunk.len();
                if outbound.is_high && outbound.bytes <= outbound.low_water {
                    outbound.is_high = false;
                    drop(outbound);
                    shared.wake();
                }
            }
            None if end_wanted => break stream.shutdown().await.map_err(to_core),
            None => shared.work.notified().await,
        }
    };
    let mut outbound = lock(&shared.outbound);
    if end.is_err() {
        // Nobody will write it.
        outbound.chunks.clear();
        outbound.bytes = 0;
    }
    outbound.is_high = false;
    outbound.end = Some(end);
    drop(outbound);
    shared.wake();
}

fn closed() -> Failure {
    Failure::Core(Error::new(ErrorKind::Closed, "the writing direction was closed"))
}

/// The SDK's error inside of that of a byte stream.
pub(crate) fn to_core(error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(inner) => inner.clone(),
        None => Error::new(ErrorKind::ConnectionLost, "the stream failed").with_source(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;
    use std::time::Duration;

    use hybridrelay::{Incoming, Listener, Sender};
    use hybridrelay_relay::LocalRelay;

    use super::*;
    use crate::call::block_on;

    const LONG: Option<Duration> = Some(Duration::from_secs(60));

    fn wait<T: Send>(future: impl Future<Output = T> + Send) -> T {
        block_on(future, LONG).expect("in time")
    }

    struct Ends {
        pump: Pump,
        wakes: mpsc::Receiver<()>,
        peer: Connection,
        _listener: Listener,
        _relay: LocalRelay,
    }

    fn ends(limits: Limits) -> Ends {
        let _entered = runtime::handle().expect("a runtime").enter();
        let (relay, listener, ours, peer) = wait(async {
            let relay = LocalRelay::start().await.expect("a free port");
            let cs = relay.connection_string("pump");
            let listener = hybridrelay::listen(cs.as_str()).await.expect("online");
            let sender = Sender::new(cs.as_str()).expect("usable");
            let (ours, theirs) = tokio::join!(sender.connect().open(), async {
                let Some(Incoming::Connect(connect)) = listener.accept().await.expect("online") else {
                    panic!("a sender")
                };
                connect.accept().await.expect("joined")
            });
            (relay, listener, ours.expect("joined"), theirs)
        });
        let (woken, wakes) = mpsc::channel();
        let wake = move || {
            // Whoever has gone need not be woken.
            let _ = woken.send(());
        };
        let stream = ours.into_stream().expect("unused");
        let pump = Pump::start(stream, limits, wake).expect("a runtime");
        Ends { pump, wakes, peer, _listener: listener, _relay: relay }
    }

    impl Ends {
        /// Waits for a wake-up and looks.
        fn woken(&self) {
            self.wakes.recv_timeout(Duration::from_secs(60)).expect("a wake-up");
            self.pump.look();
        }

        /// The next chunk, or the end.
        fn next(&self) -> Result<Option<Bytes>> {
            loop {
                match self.pump.read()? {
                    Read::Data(data) => return Ok(Some(data)),
                    Read::End => return Ok(None),
                    Read::Pending => self.woken(),
                }
            }
        }
    }

    #[test]
    fn bytes_go_both_ways_and_each_direction_ends_by_itself() {
        let ends = ends(Limits::default());
        assert!(ends.pump.write(Bytes::from_static(b"hello")).expect("open"));
        assert!(wait(ends.peer.receive()).expect("open") == Some(b"hello".to_vec().into()));
        wait(ends.peer.send(b"welcome".to_vec())).expect("open");
        assert_eq!(ends.next().expect("open").as_deref(), Some(&b"welcome"[..]));
        ends.pump.end();
        assert_eq!(ends.pump.write(Bytes::from_static(b"late")).expect_err("ended").code().name(), "CLOSED");
        assert!(wait(ends.peer.receive()).expect("in order").is_none());
        while ends.pump.ended().is_none() {
            ends.woken();
        }
        ends.pump.ended().expect("ended").expect("in order");
        wait(ends.peer.send(b"and more".to_vec())).expect("open");
        wait(ends.peer.shutdown()).expect("open");
        assert_eq!(ends.next().expect("open").as_deref(), Some(&b"and more"[..]));
        assert_eq!(ends.next().expect("in order"), None);
    }

    #[test]
    fn what_is_not_taken_stops_the_peer_and_arrives_whole() {
        let limits = Limits { inbound: 64 << 10, chunk: 16 << 10, ..Limits::default() };
        let ends = ends(limits);
        let (peer, total) = (ends.peer.clone(), 64 << 20);
        let sending = runtime::handle().expect("a runtime").spawn(async move {
            for number in 0..total >> 16 {
                peer.send(vec![number as u8; 1 << 16]).await.expect("open");
            }
            peer.shutdown().await.expect("open");
        });
        // Nothing is taken until the peer stands still, which it would not if it were not stopped.
        let mut before = usize::MAX;
        loop {
            let held = lock(&ends.pump.shared.inbound).bytes;
            assert!(held <= limits.inbound + limits.chunk, "{held} bytes are held");
            if held == before && held >= limits.inbound {
                break;
            }
            before = held;
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!sending.is_finished());
        let mut got = 0;
        while let Some(data) = ends.next().expect("in order") {
            assert!(data.len() <= limits.chunk);
            for (at, byte) in data.iter().enumerate() {
                assert_eq!(*byte, ((got + at) >> 16) as u8);
            }
            got += data.len();
        }
        assert_eq!(got, total);
        wait(sending).expect("no panic");
    }

    #[test]
    fn a_writer_is_told_to_pause_and_to_go_on() {
        let ends = ends(Limits::default());
        let mut written = 0;
        while ends.pump.write(vec![7; 1 << 16].into()).expect("open") {
            written += 1 << 16;
            assert!(written < 1 << 30, "nobody reads and nobody says to pause");
        }
        written += 1 << 16;
        assert!(ends.pump.unwritten() >= 256 << 10 && !ends.pump.may_write());
        assert!(ends.pump.set_water(1 << 30, 1 << 30), "another mark");
        assert!(!ends.pump.set_water(0, 0), "every byte is too much");
        let peer = ends.peer.clone();
        let reading = runtime::handle().expect("a runtime").spawn(async move {
            let mut got = 0;
            while let Some(message) = peer.receive().await.expect("in order") {
                got += message.as_bytes().len();
            }
            got
        });
        while !ends.pump.may_write() {
            ends.woken();
        }
        ends.pump.end();
        assert_eq!(wait(reading).expect("no panic"), written);
    }

    #[test]
    fn the_host_is_woken_once_until_it_looks() {
        let ends = ends(Limits::default());
        for number in 0..10_u8 {
            wait(ends.peer.send(vec![number])).expect("open");
        }
        while lock(&ends.pump.shared.inbound).bytes < 10 {
            std::thread::yield_now();
        }
        ends.wakes.recv_timeout(Duration::from_secs(60)).expect("a wake-up");
        assert!(ends.wakes.try_recv().is_err(), "it has not looked");
        ends.pump.look();
        wait(ends.peer.send(vec![11])).expect("open");
        ends.wakes.recv_timeout(Duration::from_secs(60)).expect("another");
    }

    #[test]
    fn a_pause_stops_the_peer_until_the_host_goes_on() {
        let ends = ends(Limits::default());
        ends.pump.pause();
        let (peer, total) = (ends.peer.clone(), 64 << 20);
        let sent = Arc::new(AtomicUsize::new(0));
        let sending = runtime::handle().expect("a runtime").spawn({
            let sent = sent.clone();
            async move {
                while sent.load(Ordering::Relaxed) < total {
                    peer.send(vec![7; 1 << 16]).await.expect("open");
                    sent.fetch_add(1 << 16, Ordering::Relaxed);
                }
                peer.shutdown().await.expect("open");
            }
        });
        let mut before = 0;
        while before == 0 || sent.load(Ordering::Relaxed) > before {
            before = sent.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(!sending.is_finished());
        let held = lock(&ends.pump.shared.inbound).bytes;
        assert!(held <= Limits::default().chunk, "{held} bytes: one read may have been under way");
        ends.pump.resume();
        let mut got = 0;
        while let Some(data) = ends.next().expect("in order") {
            got += data.len();
        }
        assert_eq!(got, total);
        wait(sending).expect("no panic");
    }

    #[test]
    fn a_pump_that_is_dropped_is_an_abort_and_so_is_one_at_the_other_end() {
        let first = ends(Limits::default());
        drop(first.pump);
        assert_eq!(wait(first.peer.receive()).expect_err("aborted").kind(), ErrorKind::ConnectionLost);
        let second = ends(Limits::default());
        second.peer.abort();
        let failure = second.next().expect_err("aborted");
        assert_eq!(failure.code().name(), "CONNECTION_LOST");
        assert_eq!(second.next().expect_err("each time").code(), failure.code());
        while second.pump.ended().is_none() && second.pump.write(Bytes::from_static(b"x")).is_ok() {
            std::thread::yield_now();
        }
    }
}
