//! haproxy from the distribution, with as many threads as the relays have.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::process::Process;

const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// What it does with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It does not look at them.
    Tcp,
    /// The same with buffers for throughput.
    TcpTuned,
    /// It reads requests and answers, and keeps connections to the server.
    Http,
}

/// Starts it in front of `backend`, with TLS on both sides if there is a certificate.
pub(crate) fn start(backend: SocketAddr, certificate: Option<&Path>, mode: Mode) -> Result<(Process, SocketAddr)> {
    // The socket is made here and inherited, so that nobody has to guess a free port.
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty()))?;

    let threads = available_parallelism()?;
    let buffers = if mode == Mode::TcpTuned { "tune.bufsize 65536" } else { "" };
    let (mode, reuse) = if mode == Mode::Http { ("http", "") } else { ("tcp", "no-ssl-reuse") };
    let (front, back) = match certificate {
        Some(file) => (
            format!("ssl crt {} ssl-min-ver TLSv1.3 ciphersuites {CIPHER}", file.display()),
            format!("ssl verify none ssl-min-ver TLSv1.3 ciphersuites {CIPHER} {reuse}"),
        ),
        None => (String::new(), String::new()),
    };
    let mut file = tempfile::Builder::new().suffix(".cfg").tempfile()?;
    write!(
        file,
        "global\n nbthread {threads}\n maxconn 9000\n {buffers}\n\
         defaults\n mode {mode}\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n\
         listen bench\n bind fd@{fd} {front}\n server load {backend} {back}\n",
        fd = socket.as_raw_fd(),
    )?;
    file.flush()?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-q", "-f"]).arg(file.path());
    Ok((Process::spawn(command)?.with_file(file), address))
}
