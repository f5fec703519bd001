//! Programs that run beside a test, and what they print.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use hybridrelay_tests::wire::Soon;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A program that is read line by line; killed with all that it started when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    complaints: Arc<Mutex<String>>,
}

impl Running {
    /// Starts a program without input.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: a shell's children end with it.
        let mut child = command.process_group(0).kill_on_drop(true).spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let complaints = Arc::new(Mutex::new(String::new()));
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let said = complaints.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                *said.lock().expect("nobody panics with it") += &(line + "\n");
            }
        });
        Self { child, lines, complaints }
    }

    /// Waits for a line; others before it are passed over.
    pub(crate) async fn prints(&mut self, wanted: &str) {
        let mut before = Vec::new();
        while let Some(line) = self.lines.next_line().soon().await.expect("text") {
            if line == wanted {
                return;
            }
            before.push(line);
        }
        let complaints = self.complaints.lock().expect("nobody panics with it").clone();
        panic!("{wanted:?} was not printed, but {before:?} and the errors:\n{complaints}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(id) = self.child.id() {
            // It may just have ended by itself.
            let _ = killpg(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// Runs a program to its end with this input, and returns what it printed.
///
/// # Panics
///
/// If it fails, with what it says.
pub(crate) async fn output(command: &mut Command, input: &str) -> String {
    let (succeeded, printed, complaints) = run(command, input).await;
    assert!(succeeded, "{command:?} failed, it printed {printed:?} and the errors:\n{complaints}");
    printed
}

/// Runs a program that must fail, and returns what it says about that on standard error.
pub(crate) async fn failure(command: &mut Command) -> String {
    let (succeeded, printed, complaints) = run(command, "").await;
    assert!(!succeeded && printed.is_empty(), "{command:?} did not fail, it printed {printed:?}");
    complaints
}

/// Whether it succeeds, its output and its errors.
async fn run(command: &mut Command, input: &str) -> (bool, String, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that does not read its input may be gone before it is written.
    let _ = stdin.write_all(input.as_bytes()).soon().await;
    drop(stdin);
    let (mut printed, mut complaints) = (String::new(), String::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (stdout.expect("it is piped"), stderr.expect("it is piped"));
    let read = async { tokio::join!(stdout.read_to_string(&mut printed), stderr.read_to_string(&mut complaints)) };
    let (read, complained) = read.soon().await;
    read.and(complained).expect("text");
    let status = child.wait().soon().await.expect("it is ours");
    (status.success(), printed, complaints)
}
