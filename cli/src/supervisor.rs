//! What a service manager is told, in systemd's notification protocol (sd_notify): a datagram of `NAME=value` lines to the socket that
//! `NOTIFY_SOCKET` names. Without that variable nothing is said.
//!
//! Not by a crate: the small ones take an abstract socket's name (`@name`) for a file's, and all that is left is below.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use hybridrelay::env::Env;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

/// The manager's socket, if there is one. Secrets have no business here: everybody may read a unit's status.
pub(crate) struct Supervisor {
    socket: Option<UnixDatagram>,
}

impl Supervisor {
    /// The supervisor that the environment names.
    pub(crate) fn from_environment() -> Self {
        let name = env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty());
        name.map_or(Self { socket: None }, |name| Self::at(&name))
    }

    fn at(name: &str) -> Self {
        let socket = connect(name);
        let socket = socket.inspect_err(|error| tracing::warn!(%error, "the service manager cannot be reached"));
        Self { socket: socket.ok() }
    }

    /// The service is ready, for the first time or after [`reloading`](Self::reloading).
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\n{}", status_line(status)));
    }

    /// The configuration is being read again; [`ready`](Self::ready) has to follow.
    pub(crate) fn reloading(&self) {
        // Linux always has this clock. The manager tells by it a reload from one that began earlier.
        if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", Duration::from(now).as_micros()));
        }
    }

    /// The service ends, and takes at most so long for it.
    pub(crate) fn stopping(&self, limit: Duration, status: &str) {
        // A little more than that: the manager kills when it is over.
        let limit = limit.saturating_add(Duration::from_secs(15)).as_micros();
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={limit}\n{}", status_line(status)));
    }

    /// Gives signs of life twice as often as the manager asks for them, if it does, until dropped. Each time a task has to come back
    /// from the runtime first: one whose threads are all stuck gives none.
    pub(crate) async fn watch(&self, env: &Env) {
        let Some(limit) = self.socket.as_ref().and_then(|_| watchdog_limit()) else {
            return std::future::pending().await;
        };
        loop {
            let (back, came_back) = oneshot::channel();
            env.spawn(async move {
                // Nobody waits any more if the service ends.
                let _ = back.send(());
            });
            if came_back.await.is_ok() {
                self.tell("WATCHDOG=1\n");
            }
            env.sleep(limit / 2).await;
        }
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::warn!(%error, "the service manager cannot be told anything");
        }
    }
}

/// A line of its own, whatever the text.
fn status_line(status: &str) -> String {
    format!("STATUS={}\n", status.replace('\n', " "))
}

/// A path, or `@name` in the abstract namespace. Never waits: a manager that does not read its socket must not hold the service up.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.strip_prefix('@') {
        None => socket.connect(name)?,
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
        }
        #[cfg(not(target_os = "linux"))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How often the manager wants a sign of life from this very process.
fn watchdog_limit() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|limit| ours && *limit > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_carries_the_time_by_which_the_manager_knows_it_and_ends_with_ready() {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("notify");
        let manager = UnixDatagram::bind(&name).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut buffer = [0; 1024];
        let mut next = || {
            let len = manager.recv(&mut buffer).expect("something is said");
            std::str::from_utf8(&buffer[..len]).unwrap().to_owned()
        };
        let clock = || Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_micros();

        let supervisor = Supervisor::at(name.to_str().unwrap());
        let before = clock();
        supervisor.reloading();
        let said = next();
        let time = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.strip_suffix('\n'));
        let time: u128 = time.unwrap_or_else(|| panic!("{said:?}")).parse().unwrap();
        assert!((before..=clock()).contains(&time), "{time}");
        supervisor.ready("two\nlines");
        assert_eq!(next(), "READY=1\nSTATUS=two lines\n");
    }

    #[test]
    fn a_manager_that_has_gone_is_no_failure() {
        let supervisor = Supervisor::at("/nowhere/notify");
        supervisor.ready("nobody hears it");
        supervisor.reloading();
        supervisor.stopping(Duration::MAX, "");
    }
}
