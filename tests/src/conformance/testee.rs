//! A program of a language, told what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

use super::transcript::Transcript;

/// The longest that an answer is waited for. Far beyond what a busy machine needs: it only keeps a failing test from hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of a program's standard error is kept to explain a failure.
const STDERR_KEPT: usize = 16 * 1024;

/// A running program; killed when dropped.
pub struct Testee {
    name: String,
    child: tokio::sync::Mutex<Child>,
    pid: Pid,
    stdin: tokio::sync::Mutex<Option<ChildStdin>>,
    shared: Arc<Shared>,
    next: AtomicU64,
    lacks: BTreeMap<String, String>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    stderr: Mutex<String>,
}

#[derive(Default)]
struct Waiting {
    ended: bool,
    by_id: BTreeMap<u64, oneshot::Sender<Value>>,
}

/// A command that was given.
#[derive(Debug)]
pub struct Pending {
    /// The number by which it can be cancelled.
    pub id: u64,
    answer: oneshot::Receiver<Value>,
    who: String,
    transcript: Transcript,
}

#[derive(Deserialize)]
struct Hello {
    protocol: u64,
    lacks: BTreeMap<String, String>,
}

impl Testee {
    /// Starts a program and hears what it can do.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or does not introduce itself.
    pub async fn start(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let pid = Pid::from_raw(child.id().context("it has just been started")?.cast_signed());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let shared = Arc::new(Shared::default());
        tokio::spawn(shared.clone().read_stderr(stderr.context("piped above")?));
        let mut lines = BufReader::new(stdout.context("piped above")?).lines();
        let first =
            within(PATIENCE, lines.next_line()).await.with_context(|| format!("{name} does not say hello"))??;
        let hello = first.and_then(|line| serde_json::from_str::<Value>(&line).ok()?.get("hello").cloned());
        let hello = hello.and_then(|hello| serde_json::from_value::<Hello>(hello).ok());
        let Some(hello) = hello else { bail!("{name} does not say hello{}", shared.explanation()) };
        if hello.protocol != 1 {
            bail!("{name} speaks version {} of the protocol", hello.protocol);
        }
        tokio::spawn(shared.clone().read_answers(lines));
        Ok(Self {
            name: name.to_owned(),
            child: tokio::sync::Mutex::new(child),
            pid,
            stdin: tokio::sync::Mutex::new(Some(stdin.context("piped above")?)),
            shared,
            next: AtomicU64::new(1),
            lacks: hello.lacks,
        })
    }

    /// Why it lacks a capability; `None` if it does not.
    pub fn lacks(&self, capability: &str) -> Option<&str> {
        self.lacks.get(capability).map(String::as_str)
    }

    /// The capabilities that it lacks, with the reasons.
    pub fn lacking(&self) -> &BTreeMap<String, String> {
        &self.lacks
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.shared.waiting().ended
    }

    /// Gives a command, an object without an id.
    ///
    /// # Errors
    ///
    /// If the program does not listen any more.
    pub async fn begin(&self, who: &str, mut command: Value, transcript: &Transcript) -> Result<Pending> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        command["id"] = json!(id);
        transcript.told(who, &command);
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.shared.waiting();
            if !waiting.ended {
                waiting.by_id.insert(id, sender);
            }
        }
        let line = format!("{command}\n");
        let written = within(PATIENCE, async {
            match &mut *self.stdin.lock().await {
                Some(stdin) => stdin.write_all(line.as_bytes()).await,
                None => Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        })
        .await;
        written
            .and_then(|written| Ok(written?))
            .map_err(|error| anyhow!("{} does not listen: {error}{}", self.name, self.shared.explanation()))?;
        Ok(Pending { id, answer, who: who.to_owned(), transcript: transcript.clone() })
    }

    /// Gives a command and waits for its answer.
    ///
    /// # Errors
    ///
    /// If none comes.
    pub async fn ask(&self, who: &str, command: Value, transcript: &Transcript) -> Result<Value> {
        let pending = self.begin(who, command, transcript).await?;
        self.answer(pending).await
    }

    /// Waits for the answer to a command.
    ///
    /// # Errors
    ///
    /// If none comes.
    pub async fn answer(&self, pending: Pending) -> Result<Value> {
        pending.answered().await.map_err(|error| error.context(format!("{}{}", self.name, self.shared.explanation())))
    }

    /// Ends what it is told.
    pub async fn end_of_input(&self) {
        self.stdin.lock().await.take();
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid, signal)?)
    }

    /// Waits for its end, which something else brings about.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn ended(&self) -> Result<ExitStatus> {
        let ended = within(PATIENCE, async { self.child.lock().await.wait().await }).await;
        Ok(ended.with_context(|| format!("the end of {}{}", self.name, self.shared.explanation()))??)
    }

    /// What it wrote on its standard error.
    pub fn said(&self) -> String {
        self.shared.explanation()
    }
}

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// If none comes, because the program has ended or takes too long.
    pub async fn answered(self) -> Result<Value> {
        let answer = within(PATIENCE, self.answer).await.context("no answer")?.context("it has ended")?;
        self.transcript.answered(&self.who, &answer);
        Ok(answer)
    }

    /// Whether there is no answer yet.
    pub fn is_pending(&self) -> bool {
        self.answer.is_empty() && !self.answer.is_terminated()
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_answers(self: Arc<Self>, mut lines: tokio::io::Lines<BufReader<ChildStdout>>) {
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = serde_json::from_str::<Value>(&line).ok();
            match answer.as_ref().and_then(|answer| answer["id"].as_u64()) {
                Some(id) => {
                    let waiting = self.waiting().by_id.remove(&id);
                    if let (Some(waiting), Some(answer)) = (waiting, answer) {
                        // Who gave the command may have given up on it.
                        let _ = waiting.send(answer);
                    }
                }
                None => self.note(&format!("(not an answer) {line}\n")),
            }
        }
        let mut waiting = self.waiting();
        waiting.ended = true;
        waiting.by_id.clear();
    }

    async fn read_stderr(self: Arc<Self>, mut stderr: ChildStderr) {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = stderr.read(&mut buffer).await {
            self.note(&String::from_utf8_lossy(&buffer[..len]));
        }
    }

    fn note(&self, text: &str) {
        let mut kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < STDERR_KEPT {
            kept.push_str(text);
        }
    }

    fn explanation(&self) -> String {
        let said = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_empty() { String::new() } else { format!("\nit said:\n{said}") }
    }
}

impl fmt::Debug for Testee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Testee").field("name", &self.name).field("pid", &self.pid).finish_non_exhaustive()
    }
}

async fn within<T>(patience: Duration, future: impl Future<Output = T>) -> Result<T> {
    let waited = tokio::time::timeout(patience, future).await;
    waited.map_err(|_| anyhow!("waited {} s in vain", patience.as_secs()))
}
