//! Linux network namespaces: hosts of their own inside this machine, with links and firewalls. They need root.

// Real processes and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The packet filter's table in a namespace.
const TABLE: &str = "hybridrelay";

/// What the names of namespaces begin with; the process's id follows.
const PREFIX: &str = "hybridrelay-";

/// Where `ip netns` keeps namespaces, and the files that it shows their programs instead of those in `/etc`.
const NAMESPACES: &str = "/run/netns";
const FILES: &str = "/etc/netns";

/// A network namespace. When dropped, the programs in it are killed and it is removed, with its links.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// A way out of a closed namespace.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// The only address that may be dialled.
    pub address: Ipv4Addr,
    /// The only TCP port that may be dialled.
    pub port: u16,
}

/// How many TCP and UDP packets a closed namespace has dropped. What the kernel says by itself, to find its neighbours, is not
/// counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// On their way in.
    pub inbound: u64,
    /// On their way out.
    pub outbound: u64,
}

impl Namespace {
    /// Makes a namespace with a loopback interface. Its name holds the process's id.
    ///
    /// # Panics
    ///
    /// If it cannot be made, as without root.
    pub fn create(role: &str) -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}-{role}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        // Nothing is passed on from one link to another.
        namespace.run("sh", &["-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
        namespace
    }

    /// Gives the namespace an address that all its links lead to.
    pub fn add_address(&self, address: Ipv4Addr) {
        self.ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"]);
    }

    /// Joins two namespaces by a link with an address at each end, and routes the other namespace's `destination` over it.
    pub fn link(&self, own: Ipv4Addr, other: &Self, others: Ipv4Addr, destination: Ipv4Addr) {
        // Interface names have at most 15 characters.
        let name = format!("link-{:08x}", u32::from(own));
        self.ip(&["link", "add", &name, "type", "veth", "peer", "name", &name, "netns", &other.name]);
        for (namespace, address) in [(self, own), (other, others)] {
            namespace.ip(&["addr", "add", &format!("{address}/30"), "dev", &name]);
            namespace.ip(&["link", "set", &name, "up"]);
        }
        self.ip(&["route", "add", &destination.to_string(), "via", &others.to_string()]);
    }

    /// Passes packets on from one link to another.
    pub fn forward(&self) {
        self.run("sh", &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    }

    /// Swallows every packet that would be passed on.
    pub fn stop_forwarding(&self) {
        let rules =
            format!("table inet {TABLE} {{ chain forward {{ type filter hook forward priority 0; policy drop; }}; }}");
        self.run("nft", &[&rules]);
    }

    /// Drops every packet, in and out, but those of TCP connections from here to `exit`.
    pub fn close_but(&self, exit: Exit) {
        let Exit { address, port } = exit;
        let rules = format!(
            "table inet {TABLE} {{
                counter inbound {{}}
                counter outbound {{}}
                chain input {{
                    type filter hook input priority 0; policy drop;
                    ip saddr {address} tcp sport {port} ct state established accept
                    meta l4proto {{ tcp, udp }} counter name inbound drop
                }}
                chain output {{
                    type filter hook output priority 0; policy drop;
                    ip daddr {address} tcp dport {port} accept
                    meta l4proto {{ tcp, udp }} counter name outbound drop
                }}
            }}"
        );
        self.run("nft", &[&rules]);
    }

    /// Takes the packet filter away.
    pub fn open(&self) {
        self.run("nft", &["delete", "table", "inet", TABLE]);
    }

    /// Swallows what comes from an address: nothing is refused, nobody is told.
    pub fn swallow(&self, from: Ipv4Addr) {
        // What is there already is left as it is.
        let rules = format!(
            "add table inet {TABLE}
            add set inet {TABLE} swallowed {{ type ipv4_addr; }}
            add chain inet {TABLE} swallowing {{ type filter hook input priority 0; }}
            flush chain inet {TABLE} swallowing
            add rule inet {TABLE} swallowing ip saddr @swallowed drop
            add element inet {TABLE} swallowed {{ {from} }}"
        );
        self.run("nft", &[&rules]);
    }

    /// Ends [`swallow`](Self::swallow) for an address.
    pub fn swallow_no_more(&self, from: Ipv4Addr) {
        self.run("nft", &[&format!("delete element inet {TABLE} swallowed {{ {from} }}")]);
    }

    /// Sets a network parameter of the kernel, such as `ipv4/tcp_rmem`, for this namespace.
    pub fn set_parameter(&self, name: &str, value: &str) {
        self.run("sh", &["-c", &format!("echo '{value}' > /proc/sys/net/{name}")]);
    }

    /// What the rules of [`close_but`](Self::close_but) have dropped.
    pub fn dropped(&self) -> Dropped {
        let listing = self.run("nft", &["--json", "list", "counters", "table", "inet", TABLE]);
        let listing: serde_json::Value = serde_json::from_str(&listing).expect("nft prints JSON");
        let counters: Vec<_> = listing["nftables"].as_array().into_iter().flatten().collect();
        let packets = |name: &str| {
            let counter = counters.iter().map(|entry| &entry["counter"]).find(|counter| counter["name"] == name);
            counter.and_then(|counter| counter["packets"].as_u64()).unwrap_or_else(|| panic!("no {name} in {listing}"))
        };
        Dropped { inbound: packets("inbound"), outbound: packets("outbound") }
    }

    /// The sockets that wait for somebody from outside: TCP ones that listen, UDP ones that are not connected. One in a line.
    pub fn waiting_sockets(&self) -> String {
        self.run("ss", &["--no-header", "--numeric", "--listening", "--tcp", "--udp"])
    }

    /// The peers of the TCP connections that are established.
    pub fn tcp_peers(&self) -> Vec<String> {
        let listing = self.run("ss", &["--no-header", "--numeric", "--tcp", "state", "established"]);
        listing.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a closure on a thread inside; threads and programs that it starts are inside as well.
    pub fn thread<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = fs::File::open(Path::new(NAMESPACES).join(&self.name)).expect("the namespace is there");
        std::thread::spawn(move || {
            nix::sched::setns(&namespace, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
            body()
        })
    }

    /// What programs inside see as `/etc/FILE`, which must exist outside.
    pub fn show_etc(&self, file: &str, text: &str) {
        let folder = self.files();
        let written = fs::create_dir_all(&folder).and_then(|()| {
            let mut output = fs::File::create(folder.join(file))?;
            output.set_permissions(fs::Permissions::from_mode(if file == "shadow" { 0o600 } else { 0o644 }))?;
            output.write_all(text.as_bytes())
        });
        written.unwrap_or_else(|error| panic!("{file} cannot be written to {}: {error}", folder.display()));
    }

    fn files(&self) -> PathBuf {
        Path::new(FILES).join(&self.name)
    }

    fn ip(&self, arguments: &[&str]) {
        run("ip", &[&["-netns", &self.name], arguments].concat());
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        run("ip", &[&["netns", "exec", &self.name, program], arguments].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What cannot be removed is no reason to hide why a test failed. Programs that have forked would outlive the test.
        if let Ok(output) = Command::new("ip").args(["netns", "pids", &self.name]).output() {
            let pids = String::from_utf8_lossy(&output.stdout).into_owned();
            let pids = pids.lines().filter_map(|pid| pid.trim().parse().ok());
            for pid in pids.filter(|pid| *pid != std::process::id().cast_signed()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
        let _ = fs::remove_dir_all(self.files());
    }
}

/// Removes what processes left behind that were killed before they could do it themselves.
fn sweep() {
    for folder in [NAMESPACES, FILES] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
                drop(Namespace { name });
            }
        }
    }
}

/// Runs a program that does not wait for anything, and returns what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let Output { status, stdout, stderr } =
        output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    let explanation = String::from_utf8_lossy(&stderr);
    assert!(
        status.success(),
        "`{program} {}` failed (network namespaces need root, iproute2 and nftables): {explanation}",
        arguments.join(" ")
    );
    String::from_utf8_lossy(&stdout).into_owned()
}
