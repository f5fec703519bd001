//! Processes, and a relay among them.

use std::ffi::OsStr;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hybridrelay::{Listener, ListenerBuilder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

/// Nothing takes this long; only a hang does.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for what must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The command in a clean environment with a home of its own.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hybridrelay"));
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default()).kill_on_drop(true);
    command
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Output {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is text")
    }

    /// The standard output of a process that succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Vec<u8> {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// The last line of standard error as JSON.
    #[track_caller]
    pub(crate) fn last_event(&self) -> Value {
        let line = self.stderr.lines().last().expect("something is on standard error");
        serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))
    }
}

/// Runs a command to its end with this input.
pub(crate) async fn run(command: &mut Command, input: impl AsRef<[u8]>) -> Output {
    let mut process = Process::start(command);
    let mut stdin = process.stdin.take().expect("input is piped");
    let input = input.as_ref().to_vec();
    let writing = tokio::spawn(async move {
        // A process that ends without reading its input is no fault of the test's.
        let _ = stdin.write_all(&input).await;
    });
    let output = process.output().await;
    writing.abort();
    output
}

/// A running process with pipes.
pub(crate) struct Process {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: watch::Receiver<String>,
}

impl Process {
    /// Starts a command; its standard input is a pipe unless it was set before with [`Process::start_with`].
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::piped())
    }

    pub(crate) fn start_with(command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        let mut child =
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let (text, stderr) = watch::channel(String::new());
        let mut lines = BufReader::new(child.stderr.take().expect("standard error is piped")).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                text.send_modify(|text| {
                    text.push_str(&line);
                    text.push('\n');
                });
            }
        });
        let stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Self { stdin: child.stdin.take(), stdout: Some(stdout), stderr, child }
    }

    /// Waits until standard error holds a text.
    pub(crate) async fn says(&mut self, text: &str) {
        assert!(self.says_before_its_end(text).await, "{text:?} was not said, but: {}", *self.stderr.borrow());
    }

    /// Waits until standard error holds a text, or the process has ended without it.
    pub(crate) async fn says_before_its_end(&mut self, text: &str) -> bool {
        within(text, self.stderr.wait_for(|said| said.contains(text))).await.is_ok()
    }

    /// Waits until standard error holds a text so many times.
    pub(crate) async fn says_times(&mut self, times: usize, text: &str) {
        let said = within(text, self.stderr.wait_for(|said| said.matches(text).count() >= times)).await.map(|_| ());
        said.unwrap_or_else(|_| panic!("{text:?} was not said {times} times, but: {}", *self.stderr.borrow()));
    }

    /// What standard error holds so far.
    pub(crate) fn said(&self) -> String {
        self.stderr.borrow().clone()
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        within("a line", self.reader().read_line(&mut line)).await.expect("standard output is readable");
        line
    }

    /// Reads exactly so many bytes of standard output.
    pub(crate) async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        within("output", self.reader().read_exact(&mut bytes)).await.expect("so much is written");
        bytes
    }

    /// Reads standard output to its end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        within("the end of output", self.reader().read_to_end(&mut bytes)).await.expect("standard output is readable");
        bytes
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("input is open");
        within("input to be taken", stdin.write_all(bytes.as_ref())).await.expect("input is taken");
    }

    fn reader(&mut self) -> &mut BufReader<ChildStdout> {
        self.stdout.as_mut().expect("output is open")
    }

    /// Closes our end of the process's output, as `head` does when it has enough.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("the process runs");
        kill(Pid::from_raw(i32::try_from(id).expect("an id")), signal).expect("the process takes signals");
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        within("the process to end", self.child.wait()).await.expect("the process is ours")
    }

    /// Ends its input and waits for its end.
    pub(crate) async fn output(mut self) -> Output {
        self.close_stdin();
        let stdout = self.rest().await;
        let code = self.exit().await.code();
        // The sender of the text goes with the end of standard error.
        while within("the end of errors", self.stderr.changed()).await.is_ok() {}
        Output { code, stdout, stderr: self.stderr.borrow().clone() }
    }
}

/// A development relay in a process of its own.
pub(crate) struct Relay {
    pub(crate) process: Process,
    pub(crate) ready: Value,
    home: TempDir,
}

impl Relay {
    /// A relay with TLS and without, on free ports.
    pub(crate) async fn start() -> Self {
        Self::start_with(["--listen", "https://127.0.0.1:0", "--listen", "http://127.0.0.1:0"]).await
    }

    pub(crate) async fn start_with<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), arguments).await
    }

    pub(crate) async fn start_in<A: AsRef<OsStr>>(home: TempDir, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::start_logging(home, "", arguments).await
    }

    /// A relay whose `HYBRIDRELAY_LOG` is this.
    pub(crate) async fn start_logging<A: AsRef<OsStr>>(
        home: TempDir,
        log: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let state = home.path().join("state");
        let arguments: Vec<_> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let admin = if arguments.iter().any(|argument| argument == "--admin") {
            &[][..]
        } else {
            &["--admin", "https://127.0.0.1:0"]
        };
        let mut process = Process::start(
            command(home.path())
                .args(["serve", "--dev", "--state"])
                .arg(state)
                .args(admin)
                .args(arguments)
                .env("HYBRIDRELAY_LOG", log),
        );
        let line = process.line().await;
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}: {}", *process.stderr.borrow()));
        Self { process, ready, home }
    }

    /// Ends the relay and gives its home back.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.process.signal(Signal::SIGTERM);
        assert_eq!(self.process.exit().await.code(), Some(0));
        self.home
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().unwrap_or_else(|| panic!("the ready line has no {field}"))
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.text("caFile").into()
    }

    pub(crate) fn connection_string(&self) -> &str {
        self.text("connectionString")
    }

    /// Host and port in the connection string.
    pub(crate) fn authority(&self) -> &str {
        let (_, rest) = self.connection_string().split_once("sb://").expect("an endpoint");
        rest.split_once('/').expect("a slash").0
    }

    /// A connection string for the relay's address without TLS.
    pub(crate) fn plain_connection_string(&self) -> String {
        let listen = self.ready["listen"].as_array().expect("addresses");
        let plain = listen.iter().filter_map(Value::as_str).find_map(|url| url.strip_prefix("http://"));
        let (authority, key) = (plain.expect("an address without TLS"), self.text("key"));
        let rule = self.text("keyName");
        format!(
            "Endpoint=sb://{authority}/;SharedAccessKeyName={rule};SharedAccessKey={key};UseDevelopmentEmulator=true"
        )
    }

    /// The command with this relay in its environment.
    pub(crate) fn command(&self) -> Command {
        self.equip(command(self.home()))
    }

    /// Another program with this relay in its environment.
    pub(crate) fn command_for(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home()).kill_on_drop(true);
        self.equip(command)
    }

    fn equip(&self, mut command: Command) -> Command {
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HYBRIDRELAY_CONNECTION_STRING", self.connection_string());
        command.env("HYBRIDRELAY_EXTRA_CA", self.ca_file());
        command
    }

    /// `hybridrelay listen` with these arguments, online.
    pub(crate) async fn listen<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Process {
        let mut process = Process::start(self.command().arg("listen").args(arguments));
        process.says("listening as").await;
        process
    }

    /// `hybridrelay connect` with these arguments.
    pub(crate) fn connect<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Process {
        Process::start(self.command().arg("connect").args(arguments))
    }

    /// A listener of this process, for what the command's own does not do.
    pub(crate) fn sdk_listener(&self, entity: &str) -> ListenerBuilder {
        let ca = std::fs::read(self.ca_file()).expect("the certificate");
        Listener::builder(self.connection_string()).entity(entity).extra_ca_pem(ca)
    }
}

/// Bytes without a pattern that a mistake could reproduce.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
