//! Debian's proxies, on the middle machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::world::{PROXY, PROXY_AT_RELAY, PROXY_PORT, World};

/// Who may use a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Open,
    /// [`USER`] with [`PASSWORD`].
    Password,
}

pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "hunter2";

/// The password as squid's and the system's password files hold it.
const APR1: &str = "$apr1$proxytst$tRPOJjfrHwAE3ZVS2xD94/";
const SHA512: &str =
    "$6$proxytst$T9GZitJy9FsoeuTmmIwSyKNE/q/1ZsgUvc4wKSajZcTnXjdVS7AiF.Y0BGgv4yC2qW7YsUkChjhyXZUB3R6iO.";

/// A running proxy. Dropping it kills it; its children end with the machine.
pub(crate) struct Server {
    _child: Child,
    log: Arc<Mutex<String>>,
    leftovers: Vec<PathBuf>,
    _files: TempDir,
}

/// An HTTP proxy that answers in HTTP/1.0, and wrong credentials with 401.
pub(crate) async fn tinyproxy(world: &World, access: Access) -> Server {
    let password = if access == Access::Password { format!("BasicAuth {USER} {PASSWORD}\n") } else { String::new() };
    let files = folder();
    let config =
        write(&files, "tinyproxy.conf", &format!("Listen {PROXY}\nPort {PROXY_PORT}\nTimeout 600\n{password}"));
    let mut command = world.proxy.command("tinyproxy");
    command.arg("-d").arg("-c").arg(config);
    start(command, files, "Accepting connections").await
}

/// An HTTP proxy that answers in HTTP/1.1.
pub(crate) async fn squid(world: &World, access: Access) -> Server {
    start_squid(world, access, folder(), "http_port", "").await
}

/// The same behind TLS, with this certificate chain and key.
pub(crate) async fn squid_with_tls(world: &World, access: Access, chain: &str, key: &str) -> Server {
    let files = folder();
    let (chain, key) = (write(&files, "chain.pem", chain), write(&files, "key.pem", key));
    let tls = format!("tls-cert={} tls-key={}", chain.display(), key.display());
    start_squid(world, access, files, "https_port", &tls).await
}

async fn start_squid(world: &World, access: Access, files: TempDir, port: &str, tls: &str) -> Server {
    let users = write(&files, "users", &format!("{USER}:{APR1}\n"));
    let rules = match access {
        Access::Open => "http_access allow CONNECT".to_owned(),
        Access::Password => format!(
            "auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
             auth_param basic children 1\n\
             acl known proxy_auth REQUIRED\n\
             http_access allow CONNECT known",
            users.display()
        ),
    };
    let config = format!(
        "{port} {PROXY}:{PROXY_PORT} {tls}\n\
         acl CONNECT method CONNECT\n\
         {rules}\n\
         http_access deny all\n\
         visible_hostname proxy.test\n\
         dns_nameservers {PROXY}\n\
         pid_filename none\n\
         access_log none\n\
         cache_log /dev/null\n\
         cache deny all\n\
         cache_mem 8 MB\n\
         pinger_enable off\n\
         coredump_dir {}\n",
        files.path().display()
    );
    let config = write(&files, "squid.conf", &config);
    // Squids of the same name share memory, also across namespaces.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("hybridrelay{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut command = world.proxy.command("squid");
    command.args(["-N", "-d1", "-n", &name, "-f"]).arg(config);
    let mut server = start(command, files, "Socket connections at").await;
    server.leftovers =
        ["metadata", "queues", "readers"].map(|part| format!("/dev/shm/{name}-cf__{part}.shm").into()).to_vec();
    server
}

/// A SOCKS proxy.
pub(crate) async fn dante(world: &World, access: Access) -> Server {
    let method = if access == Access::Password { "username" } else { "none" };
    let files = folder();
    let config = format!(
        "logoutput: stderr\n\
         internal: {PROXY} port = {PROXY_PORT}\n\
         external: {PROXY_AT_RELAY}\n\
         clientmethod: none\n\
         socksmethod: {method}\n\
         user.privileged: root\n\
         user.unprivileged: nobody\n\
         client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n\
         socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n"
    );
    let config = write(&files, "danted.conf", &config);
    // Its users are the machine's.
    let accounts = fs::read_to_string("/etc/passwd").expect("there are accounts");
    let account = format!("{accounts}\n{USER}:x:64123:64123::/nonexistent:/usr/sbin/nologin\n");
    world.proxy.show_etc("passwd", &account);
    world.proxy.show_etc("shadow", &format!("{USER}:{SHA512}:19000:0:99999:7:::\n"));
    let mut command = world.proxy.command("danted");
    command.args(["-N", "1", "-f"]).arg(config);
    start(command, files, "running").await
}

/// Starts a proxy and waits until it says that it is ready.
async fn start(mut command: Command, files: TempDir, ready: &str) -> Server {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the proxy is installed");
    let (lines, mut said) = mpsc::unbounded_channel();
    tokio::spawn(pass_lines(child.stdout.take().expect("piped above"), lines.clone()));
    tokio::spawn(pass_lines(child.stderr.take().expect("piped above"), lines));
    let mut log = String::new();
    loop {
        let line = said.recv().await.unwrap_or_else(|| panic!("the proxy ended and said:\n{log}"));
        log = log + &line + "\n";
        if line.contains(ready) {
            break;
        }
    }
    let log = Arc::new(Mutex::new(log));
    tokio::spawn({
        let log = log.clone();
        async move {
            while let Some(line) = said.recv().await {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                *log = format!("{log}{line}\n");
            }
        }
    });
    Server { _child: child, log, leftovers: Vec::new(), _files: files }
}

async fn pass_lines(output: impl AsyncRead + Unpin, lines: mpsc::UnboundedSender<String>) {
    let mut output = BufReader::new(output).lines();
    while let Ok(Some(line)) = output.next_line().await {
        let _ = lines.send(line);
    }
}

/// A folder that proxies may enter after they gave up root.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("folders can be made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("folders can be opened");
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(Path::new(name));
    fs::write(&path, text).expect("files can be written");
    path
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the proxy said:\n{}", self.log.lock().unwrap_or_else(PoisonError::into_inner));
        }
        for leftover in &self.leftovers {
            let _ = fs::remove_file(leftover);
        }
    }
}
