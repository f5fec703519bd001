//! What a service manager is told, and the unit that names the service to it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::UnixDatagram;
use tokio::process::Command;

use crate::harness::{Process, command, run, within};
use crate::serve_file::{PLAIN, write};

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    /// What `NOTIFY_SOCKET` says.
    name: String,
}

impl Manager {
    fn at_path(home: &Path) -> Self {
        let name = home.join("notify");
        Self { socket: UnixDatagram::bind(&name).unwrap(), name: name.to_str().unwrap().to_owned() }
    }

    fn abstract_one() -> Self {
        // Nobody else has a name with this process's id and this test in it.
        let name = format!("hybridrelay-test-{}", std::process::id());
        let socket = StdDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket: UnixDatagram::from_std(socket).unwrap(), name: format!("@{name}") }
    }

    async fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let len = within("a notification", self.socket.recv(&mut buffer)).await.unwrap();
        std::str::from_utf8(&buffer[..len]).unwrap().to_owned()
    }
}

/// A relay whose service manager is this, behind a shell that may set more variables.
async fn serve(home: &Path, manager: &Manager, variables: &str) -> (Process, Value) {
    let script = format!("{variables} exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_hybridrelay")).kill_on_drop(true);
    shell.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap());
    shell.args(["serve", "--dev", "--listen", "https://127.0.0.1:0", "--listen", "http://127.0.0.1:0"]);
    shell.args(["--admin", "https://127.0.0.1:0", "--drain", "7s"]).env("NOTIFY_SOCKET", &manager.name);
    let mut process = Process::start(&mut shell);
    let ready = serde_json::from_str(&process.line().await).unwrap();
    (process, ready)
}

#[tokio::test]
async fn the_manager_is_told_when_the_relay_is_ready_and_when_it_ends() {
    for kind in ["path", "abstract"] {
        let home = tempfile::tempdir().unwrap();
        let manager = if kind == "path" { Manager::at_path(home.path()) } else { Manager::abstract_one() };
        let (mut relay, ready) = serve(home.path(), &manager, "").await;
        let listen = |index: usize| ready["listen"][index].as_str().unwrap().to_owned();
        // The addresses and nothing else: every user of the machine may read it.
        assert_eq!(manager.next().await, format!("READY=1\nSTATUS=listening on {} {}\n", listen(0), listen(1)));
        relay.signal(Signal::SIGTERM);
        let stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=22000000\nSTATUS=waiting for 0 connections to end\n";
        assert_eq!(manager.next().await, stopping);
        assert_eq!(relay.exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_reload_is_told_of_whether_the_file_is_good_or_not() {
    let home = tempfile::tempdir().unwrap();
    let manager = Manager::at_path(home.path());
    let limits = "[limits]\ndrain_lead = \"1s\"\ndrain = \"6s\"\n";
    write(home.path(), "relay.toml", &format!("{PLAIN}{limits}"));
    let mut serve = command(home.path());
    serve.args(["serve", "--config"]).arg(home.path().join("relay.toml")).env("NOTIFY_SOCKET", &manager.name);
    let mut relay = Process::start(&mut serve);
    let ready: Value = serde_json::from_str(&relay.line().await).unwrap();
    let ready = format!("READY=1\nSTATUS=listening on {}\n", ready["listen"][0].as_str().unwrap());
    assert_eq!(manager.next().await, ready);
    let drain = |drain: &str| format!("{PLAIN}{}", limits.replace("6s", drain));
    for (text, told) in [("version = 0".to_owned(), "not applied"), (drain("9s"), "and applied")] {
        write(home.path(), "relay.toml", &text);
        relay.signal(Signal::SIGHUP);
        assert!(manager.next().await.starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(manager.next().await, ready);
        relay.says(told).await;
    }
    relay.signal(Signal::SIGTERM);
    let stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000\nSTATUS=waiting for 0 connections to end\n";
    assert_eq!(manager.next().await, stopping, "the times of the file that was read last, and a little more");
    assert_eq!(relay.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_watchdog_gets_signs_of_life() {
    let home = tempfile::tempdir().unwrap();
    let manager = Manager::at_path(home.path());
    // The shell becomes the relay, so this is the relay's own id.
    let (relay, _) = serve(home.path(), &manager, "WATCHDOG_USEC=100000 WATCHDOG_PID=$$").await;
    assert!(manager.next().await.starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(manager.next().await, "WATCHDOG=1\n");
    }
    relay.signal(Signal::SIGTERM);
    while manager.next().await == "WATCHDOG=1\n" {}
}

#[tokio::test]
async fn a_watchdog_that_waits_for_another_process_gets_none() {
    let home = tempfile::tempdir().unwrap();
    let manager = Manager::at_path(home.path());
    let (mut relay, _) = serve(home.path(), &manager, "WATCHDOG_USEC=1000 WATCHDOG_PID=1").await;
    assert!(manager.next().await.starts_with("READY=1\n"));
    // By now there would have been some: a command takes many times the interval.
    let connect = command(home.path()).args(["connect", "nobody"]).output();
    within("a command", connect).await.unwrap();
    relay.signal(Signal::SIGTERM);
    assert!(manager.next().await.starts_with("STOPPING=1\n"));
    assert_eq!(relay.exit().await.code(), Some(0));
}

#[tokio::test]
async fn the_unit_is_one_that_systemd_understands_and_finds_well_enclosed() {
    let directory = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../contrib/hybridrelay.service")).unwrap();
    // A program that is not installed would be a fault, and so would a manual page.
    let unit = unit.replace("/usr/bin/hybridrelay", env!("CARGO_BIN_EXE_hybridrelay"));
    let file = directory.path().join("hybridrelay.service");
    std::fs::write(&file, unit).unwrap();
    let analyze = |arguments: &[&str]| {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(arguments).arg(&file).env("LC_ALL", "C.UTF-8").kill_on_drop(true);
        analyze
    };
    let verified = run(&mut analyze(&["verify", "--man=no"]), "").await;
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""));
    // In tenths; an ordinary unit has 96.
    let judged = run(&mut analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"]), "").await;
    let verdict = judged.text().lines().rev().find(|line| line.contains("exposure level")).unwrap_or_default();
    println!("{verdict}");
    assert_eq!(judged.code, Some(0), "{verdict}{}", judged.stderr);
}
