//! Programs in other processes, told what to do and telling what happened in lines of JSON.
//!
//! A command is an object with `do`; an event is an object with `event`. Both carry the `id` of the connection that they are
//! about, or none when they are about the program itself. A program ends when its standard input does.

// Real processes and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

/// The longest that anything is waited for. Far beyond what a busy machine needs: it only keeps a failing test from hanging.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How much of a program's standard error is kept to explain a failure.
const STDERR_KEPT: usize = 16 * 1024;

/// The answer to everything that is missing.
const PREPARE: &str = "run `cargo xtask test`, which prepares what the tests need";

/// A running program; killed when dropped.
pub struct Program {
    name: String,
    child: Child,
    stdin: tokio::sync::Mutex<ChildStdin>,
    streams: Arc<Streams>,
    own: tokio::sync::Mutex<Events>,
}

/// The events of one connection, or of the program itself.
pub struct Events {
    of: String,
    receiver: mpsc::UnboundedReceiver<Value>,
    streams: Arc<Streams>,
}

/// What a program writes, sorted by the connection that it is about.
#[derive(Default)]
struct Streams {
    routes: Mutex<Routes>,
    stderr: Mutex<String>,
}

#[derive(Default)]
struct Routes {
    ended: bool,
    by_id: BTreeMap<String, Route>,
}

struct Route {
    /// Until the program's end.
    sender: Option<mpsc::UnboundedSender<Value>>,
    /// Until somebody takes it.
    receiver: Option<mpsc::UnboundedReceiver<Value>>,
}

impl Program {
    /// Starts a program with its standard streams taken.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}; {PREPARE}"));
        let streams = Arc::new(Streams::default());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        tokio::spawn(streams.clone().read_stderr(stderr.expect("piped above")));
        tokio::spawn(streams.clone().read_events(stdout.expect("piped above")));
        let own = Events::subscribe(&streams, name, "");
        Self {
            name: name.to_owned(),
            child,
            stdin: tokio::sync::Mutex::new(stdin.expect("piped above")),
            streams,
            own: tokio::sync::Mutex::new(own),
        }
    }

    /// Tells the program to do something.
    pub async fn tell(&self, command: Value) {
        let line = format!("{command}\n");
        let written =
            patiently("to be listened to", async { self.stdin.lock().await.write_all(line.as_bytes()).await });
        if let Err(error) = written.await {
            panic!("{} does not listen: {error}{}", self.name, self.streams.explanation());
        }
    }

    /// The program's next own event.
    pub async fn next(&self) -> Value {
        self.own.lock().await.next().await
    }

    /// The program's next own event, which must be of this name.
    pub async fn expect(&self, event: &str) -> Value {
        self.own.lock().await.expect(event).await
    }

    /// The events of a connection. May be asked for once, before or after the first event.
    pub fn events(&self, id: &str) -> Events {
        Events::subscribe(&self.streams, &self.name, id)
    }

    /// The id of its process.
    ///
    /// # Panics
    ///
    /// If it has ended and was waited for.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("it was not waited for");
    }

    /// Kills it, as by `kill -9`, and waits until nothing is left of it.
    pub async fn kill(mut self) {
        patiently("the end of a program", self.child.kill()).await.expect("a child can be killed");
    }

    /// Ends the program by ending its standard input, and waits for it.
    pub async fn finish(self) {
        let Self { name, mut child, stdin, streams, .. } = self;
        drop(stdin);
        let status = patiently("the end of a program", child.wait()).await.expect("a child can be waited for");
        assert!(status.success(), "{name} ended with {status}{}", streams.explanation());
    }
}

impl Events {
    fn subscribe(streams: &Arc<Streams>, program: &str, id: &str) -> Self {
        let receiver = lock(&streams.routes).route(id).receiver.take();
        let receiver = receiver.unwrap_or_else(|| panic!("the events of {id:?} were taken before"));
        Self { of: format!("{program} {id}"), receiver, streams: streams.clone() }
    }

    /// The next event.
    pub async fn next(&mut self) -> Value {
        self.next_within(PATIENCE).await
    }

    /// The next event, for what may take longer than everything else.
    pub async fn next_within(&mut self, patience: Duration) -> Value {
        let event = within(patience, &format!("an event of {}", self.of), self.receiver.recv()).await;
        event.unwrap_or_else(|| panic!("{} has ended{}", self.of, self.streams.explanation()))
    }

    /// The next event, which must be of this name.
    pub async fn expect(&mut self, name: &str) -> Value {
        let event = self.next().await;
        let explanation = self.streams.explanation();
        assert_eq!(event["event"], name, "of {}: {event}{explanation}", self.of);
        event
    }
}

impl Streams {
    async fn read_events(self: Arc<Self>, stdout: ChildStdout) {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str::<Value>(&line) {
                Ok(event) => {
                    let id = event["id"].as_str().unwrap_or_default().to_owned();
                    if let Some(sender) = &lock(&self.routes).route(&id).sender {
                        // A receiver that is gone is not interested.
                        let _ = sender.send(event);
                    }
                }
                Err(_) => self.note(&format!("(not an event) {line}\n")),
            }
        }
        let mut routes = lock(&self.routes);
        routes.ended = true;
        routes.by_id.values_mut().for_each(|route| route.sender = None);
    }

    async fn read_stderr(self: Arc<Self>, mut stderr: impl tokio::io::AsyncRead + Unpin) {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = stderr.read(&mut buffer).await {
            self.note(&String::from_utf8_lossy(&buffer[..len]));
        }
    }

    fn note(&self, text: &str) {
        let mut kept = lock(&self.stderr);
        if kept.len() < STDERR_KEPT {
            kept.push_str(text);
        }
    }

    fn explanation(&self) -> String {
        let said = lock(&self.stderr);
        if said.is_empty() { String::new() } else { format!("\nit said:\n{said}") }
    }
}

impl Routes {
    fn route(&mut self, id: &str) -> &mut Route {
        let ended = self.ended;
        self.by_id.entry(id.to_owned()).or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            Route { sender: (!ended).then_some(sender), receiver: Some(receiver) }
        })
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("child", &self.child).finish_non_exhaustive()
    }
}

/// Waits for `future`, but not for ever.
///
/// # Panics
///
/// After [`PATIENCE`], naming `what` did not come.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    within(PATIENCE, what, future).await
}

async fn within<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain for {what}", patience.as_secs()),
    }
}

/// A file or folder that `cargo xtask test` prepares, absolute or from the repository's root.
///
/// # Panics
///
/// If it is not there.
pub fn prepared(path: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    assert!(path.exists(), "{} is missing; {PREPARE}", path.display());
    path
}

fn lock<T>(table: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
