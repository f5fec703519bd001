//! A place in which the commands of one document run, one after the other, as in one terminal.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use hybridrelay_relay::LocalRelay;
use hybridrelay_tests::built;
use hybridrelay_tests::program::patiently;
use hybridrelay_tests::wire::Soon;
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{fences, open};

/// Said behind each command.
const DONE: &str = "---- done with";

/// Errors are output. `options_of` asks a task for its help, behind all that is given to it: what it does not know fails. The benchmarks are
/// a program of their own, to which `cargo xtask bench` hands everything on. `example` is a Rust example that is built.
const PRELUDE: &str = r#"exec 2>&1; set -o pipefail
options_of() {
    if [ "$1" = bench ]; then hybridrelay-bench "${@:2}" --help; else xtask "$@" --help; fi >/dev/null
}
example() { "$EXAMPLES/$1" "${@:3}"; }"#;

/// What documents call their reader's home, relay and web server: in this place they are others.
const HOME: &str = "/home/ann";
const RELAY: &str = "localhost:9443";
const WEB: &str = "localhost:8080";

/// A shell in a fresh folder, and all that it started; ends with them.
pub(crate) struct Room {
    folder: TempDir,
    shell: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    servers: Vec<Server>,
    /// What documents call something, and what it is called here.
    names: BTreeMap<&'static str, String>,
    /// Whose connection string is set before a document starts a relay of its own.
    _relay: LocalRelay,
}

/// A command that goes on.
struct Server {
    place: String,
    shown: Vec<String>,
    printed: Vec<String>,
    lines: Lines<BufReader<pipe::Receiver>>,
}

impl Room {
    /// A folder with what documents find around them: the repository's `contrib`, the program where a build puts it, a machine's folders.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        for name in ["home", "lib", "room/target/release", "machine/usr/bin", "machine/etc/bash_completion.d"] {
            fs::create_dir_all(path.join(name)).expect("a folder");
        }
        fs::create_dir_all(path.join("machine/etc/systemd/system")).expect("a folder");
        for name in ["contrib", "examples"] {
            symlink(fences::root().join(name), path.join("room").join(name)).expect("a link");
        }
        // The C library, under the names that it has when it is installed: the linker's and the loader's.
        for name in ["libhybridrelay.so", "libhybridrelay.so.0"] {
            symlink(built::c_library(), path.join("lib").join(name)).expect("a link");
        }
        // The shell starts these by itself.
        for name in ["xtask", "hybridrelay-bench"] {
            built::program(name);
        }
        symlink(built::program("hybridrelay"), path.join("room/target/release/hybridrelay")).expect("a link");

        // At a terminal, which documents have, curl would not talk of its progress.
        fs::write(path.join("home/.curlrc"), "silent\nshow-error\n").expect("a file");

        let relay = LocalRelay::start().await.expect("a free port");
        let mut command = Command::new("bash");
        command
            .args(["--noprofile", "--norc"])
            .env_clear()
            .env("PATH", built::search_path())
            .env("HOME", path.join("home"))
            .env("ROOM", path.join("room"))
            .env("MACHINE", path.join("machine"))
            .env("EXAMPLES", built::examples())
            .env("CPATH", fences::root().join("ffi-c/include"))
            .env("LIBRARY_PATH", path.join("lib"))
            .env("LD_LIBRARY_PATH", path.join("lib"))
            .env("HYBRIDRELAY_CONNECTION_STRING", relay.connection_string("hyco"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut shell = command.spawn().expect("bash");
        let input = shell.stdin.take().expect("it is piped");
        let output = BufReader::new(shell.stdout.take().expect("it is piped")).lines();
        let web = web_server().await.expect("a free port");
        let home = path.join("home").to_string_lossy().into_owned();
        let names = [(HOME, home), (WEB, format!("localhost:{web}"))].into();
        let mut room = Self { folder, shell, input, output, servers: Vec::new(), names, _relay: relay };
        room.type_in(PRELUDE).await;
        room
    }

    /// Goes back to the folder in which each block begins.
    pub(crate) async fn begin(&mut self) {
        self.type_in("cd \"$ROOM\"").await;
    }

    /// Runs a command to its end. Returns its status, and what it printed in the document's words.
    pub(crate) async fn run(&mut self, command: &str) -> (i32, Vec<String>) {
        let script = self.script(command);
        // Sourced, so that variables and folders stay as it leaves them; its input is empty, and not the next commands.
        self.type_in(&format!(". {script} </dev/null; status=$?; echo; echo '{DONE}' $status")).await;
        let mut printed: Vec<String> = Vec::new();
        loop {
            let line = self.output.next_line().soon().await.expect("text");
            let line = line.unwrap_or_else(|| panic!("the shell has ended at {command:?}: {printed:?}"));
            if let Some(status) = line.strip_prefix(DONE) {
                // The empty line in front of the mark is ours.
                printed.pop_if(|last| last.is_empty());
                return (status.trim().parse().expect("a status"), printed);
            }
            printed.push(self.in_the_documents_words(&line));
        }
    }

    /// Starts a command that goes on, and waits until it says something. `shown` is what it is to have said by the end of the document.
    pub(crate) async fn serve(&mut self, place: String, command: &str, shown: Vec<String>) {
        let script = self.script(command);
        let output = self.folder.path().join(format!("output-{}", self.servers.len()));
        mkfifo(&output, Mode::S_IRWXU).expect("a pipe");
        let receiver = pipe::OpenOptions::new().open_receiver(&output).expect("a pipe");
        self.type_in(&format!(". {script} </dev/null >'{}' 2>&1 &", output.display())).await;
        let lines = BufReader::new(receiver).lines();
        let mut server = Server { place, shown, printed: Vec::new(), lines };
        let first = server.next().await;
        // A relay tells its reader a connection string to export.
        if let Ok(ready) = serde_json::from_str::<Value>(&first) {
            let connection_string = ready["connectionString"].as_str().expect("a relay is ready");
            let authority = connection_string.split('/').nth(2).expect("an endpoint");
            self.names.insert(RELAY, authority.to_owned());
            self.type_in(&format!("export HYBRIDRELAY_CONNECTION_STRING='{connection_string}'")).await;
        }
        server.printed.push(self.in_the_documents_words(&first));
        self.servers.push(server);
    }

    /// Waits until everything that goes on has said what the document shows.
    pub(crate) async fn end(mut self) {
        for mut server in std::mem::take(&mut self.servers) {
            while !open::begins(&server.shown, &server.printed) {
                let Server { place, shown, printed, .. } = &server;
                let what = format!("{place} to go on: shown are {shown:#?}, printed were {printed:#?}");
                let line = patiently(&what, server.lines.next_line()).await.expect("text");
                let line = line.unwrap_or_else(|| panic!("the end came instead of {what}"));
                server.printed.push(self.in_the_documents_words(&line));
            }
        }
    }

    /// A file that holds the command, in the words of this place.
    fn script(&self, command: &str) -> String {
        let mut text = command.to_owned();
        for (name, here) in &self.names {
            text = text.replace(name, here);
        }
        let path = self.folder.path().join("command");
        fs::write(&path, text + "\n").expect("a file");
        format!("'{}'", path.display())
    }

    fn in_the_documents_words(&self, line: &str) -> String {
        self.names.iter().fold(line.to_owned(), |line, (name, here)| line.replace(here, name))
    }

    async fn type_in(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).soon().await.expect("the shell lives");
    }
}

impl Server {
    async fn next(&mut self) -> String {
        let line = self.lines.next_line().soon().await.expect("text");
        line.unwrap_or_else(|| panic!("{}: it has ended without a word", self.place))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(id) = self.shell.id() {
            // It may just have ended by itself.
            let _ = killpg(Pid::from_raw(id.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// The web server that documents have beside them: `hello` is all it says.
async fn web_server() -> io::Result<u16> {
    let server = TcpListener::bind(("localhost", 0)).await?;
    let port = server.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = server.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await?);
                }
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n").await
            });
        }
    });
    Ok(port)
}
