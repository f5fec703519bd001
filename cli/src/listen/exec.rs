//! A shell command whose standard input and output are a connection.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hybridrelay::env::Env;
use hybridrelay::{ByteStream, Connection, Error, ErrorKind, IncomingConnect, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::stdio::{Broken, broken};

const CHUNK: usize = 64 * 1024;

/// The end of output and the end of the process come apart by this much at most, if both come: so long the answer to "finished
/// or killed?" is awaited before the end of output is passed on.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// How long what still comes for a command that has ended is discarded before it is answered by a reset: a reset at once could
/// overtake the command's last output.
const LINGER: Duration = Duration::from_secs(2);

/// How long a command has to end after SIGTERM.
const TERMINATION: Duration = Duration::from_secs(5);

/// Who connected: what the command finds in its environment.
pub(super) struct Visitor {
    path: String,
    query: String,
    remote: Option<SocketAddr>,
}

impl Visitor {
    pub(super) fn of(connect: &IncomingConnect) -> Self {
        Self {
            path: connect.path().to_owned(),
            query: connect.query().unwrap_or_default().to_owned(),
            remote: connect.remote_addr(),
        }
    }
}

/// Runs the command until it and the connection have ended. Dropping the future kills it.
pub(super) async fn run(env: &Env, connection: Connection, command: &OsStr, visitor: &Visitor) -> Result<()> {
    let started = start(command, visitor, connection.tracking_id());
    let (mut group, stdin, stdout) = match started {
        Ok(started) => started,
        Err(error) => {
            let _ = connection.close_with(1011, "The command cannot be started").await;
            return Err(Error::new(ErrorKind::Internal, "the command cannot be started").with_source(error));
        }
    };
    let handle = connection.clone();
    let (reader, writer) = tokio::io::split(connection.into_stream()?);
    // Outside of the future that feeds it: a command must be terminated before its input ends, or it would take a broken
    // connection for a complete one.
    let mut stdin = Some(stdin);
    let outcome = {
        let mut feeding = pin!(feed(reader, &mut stdin));
        let mut answering = pin!(answer(env, &mut group.child, stdout, writer));
        tokio::select! {
            fed = &mut feeding => match fed {
                Ok(()) => answering.await,
                Err(error) => Err(error),
            },
            answered = &mut answering => {
                if answered.is_ok() {
                    let _ = env.timeout(LINGER, feeding).await;
                }
                answered
            }
        }
    };
    if outcome.is_err() {
        handle.abort();
        group.terminate(env).await;
    }
    outcome
}

fn start(command: &OsStr, visitor: &Visitor, tracking_id: &str) -> io::Result<(Group, ChildStdin, ChildStdout)> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A group of its own, so that the shell's children end with it.
        .process_group(0)
        // Whoever is connected to the command has no business with our key.
        .env_remove("HYBRIDRELAY_CONNECTION_STRING")
        .env_remove("HYBRIDRELAY_CONNECTION_STRING_FILE")
        .env("HYBRIDRELAY_PATH", &visitor.path)
        .env("HYBRIDRELAY_QUERY", &visitor.query)
        .env("HYBRIDRELAY_REMOTE_ADDR", visitor.remote.map(|address| address.to_string()).unwrap_or_default())
        .env("HYBRIDRELAY_TRACKING_ID", tracking_id)
        .spawn()?;
    let missing = || io::Error::other("the command has no pipes");
    let stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    Ok((Group { child }, stdin, stdout))
}

/// Hands what comes to the command; its end is the end of the command's input. A command that reads no more is no failure: the
/// rest is discarded.
async fn feed(mut reader: ReadHalf<ByteStream>, stdin: &mut Option<ChildStdin>) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let taken = reader.read(&mut chunk).await.map_err(lost)?;
        if taken == 0 {
            *stdin = None;
            return Ok(());
        }
        if let Some(pipe) = stdin
            && pipe.write_all(&chunk[..taken]).await.is_err()
        {
            *stdin = None;
        }
    }
}

/// Sends what the command says; its end closes our direction, unless the command was killed.
async fn answer(
    env: &Env,
    child: &mut Child,
    mut stdout: ChildStdout,
    mut writer: WriteHalf<ByteStream>,
) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        // A pipe that cannot be read has ended, as far as anybody can tell.
        match stdout.read(&mut chunk).await.unwrap_or(0) {
            0 => break,
            taken => writer.write_all(&chunk[..taken]).await.map_err(lost)?,
        }
    }
    match env.timeout(EXIT_GRACE, child.wait()).await {
        Some(status) => {
            judge(status)?;
            writer.shutdown().await.map_err(lost)
        }
        None => {
            writer.shutdown().await.map_err(lost)?;
            judge(child.wait().await)
        }
    }
}

/// Whether the command ended by itself.
fn judge(status: io::Result<ExitStatus>) -> Result<()> {
    let status = status.map_err(|error| Error::new(ErrorKind::Internal, "the command is lost").with_source(error))?;
    // Shells say 128 and the signal's number of what they ran.
    let signal = status.signal().or(status.code().filter(|code| (129..=192).contains(code)).map(|code| code - 128));
    match signal {
        Some(signal) => Err(Error::new(ErrorKind::Closed, format!("the command was killed by signal {signal}"))),
        None => {
            if !status.success() {
                tracing::warn!("the command ended with {status}");
            }
            Ok(())
        }
    }
}

fn lost(error: io::Error) -> Error {
    match broken(error) {
        Broken::Connection(error) => error,
        _ => Error::new(ErrorKind::ConnectionLost, "the connection was lost"),
    }
}

/// A command and, while it runs, everything it started. Dropping it kills them.
struct Group {
    child: Child,
}

impl Group {
    /// Asks all of them to end and waits until the shell has.
    async fn terminate(&mut self, env: &Env) {
        self.signal(Signal::SIGTERM);
        let _ = env.timeout(TERMINATION, self.child.wait()).await;
    }

    /// Signals the group. Once the shell was waited for, its number may belong to somebody else.
    fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // Fails if all have ended, which is what is wanted.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}
