//! Sockets and listening ports of simulated hosts.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connection::{ACCEPTOR, Connection, DIALLER, Found};
use super::network::{Bound, HostId, State, World};
use super::trace::Event;
use crate::env::{Acceptor, BoxSocket, Socket};

/// Connects a host to an address. Hangs while the path is a black hole.
pub(super) async fn dial(world: Arc<World>, from: HostId, address: SocketAddr) -> io::Result<BoxSocket> {
    let to = world.with(|state, _| {
        let to = if address.ip().is_loopback() { Some(from) } else { state.host_at(address.ip()) };
        let to = to.ok_or(ErrorKind::HostUnreachable)?;
        let dialled = Event::Dialled { from: state.name(from), to: state.name(to), port: address.port() };
        world.record(state, dialled);
        Ok::<_, ErrorKind>(to)
    })?;
    path(&world, from, to).await;
    let round_trip = world.with(|state, _| state.latency * 2);
    if !round_trip.is_zero() {
        tokio::time::sleep(round_trip).await;
        path(&world, from, to).await;
    }
    let (id, peer) = world.with(|state, wakers| connect(&world, state, from, to, address, wakers))?;
    Ok(SimSocket::boxed(world, id, DIALLER, peer))
}

/// Waits until something can pass both ways.
async fn path(world: &World, from: HostId, to: HostId) {
    poll_fn(|cx| {
        world.with(|state, _| {
            if !state.is_held(from, to) && !state.is_held(to, from) {
                return Poll::Ready(());
            }
            state.waiting_dials.push(cx.waker().clone());
            Poll::Pending
        })
    })
    .await;
}

fn connect(
    world: &World,
    state: &mut State,
    from: HostId,
    to: HostId,
    address: SocketAddr,
    wakers: &mut Vec<Waker>,
) -> io::Result<(u64, SocketAddr)> {
    let port = address.port();
    let (dialler, dialled) = (state.name(from), state.name(to));
    let local =
        SocketAddr::new(if address.ip().is_loopback() { address.ip() } else { state.ip(from) }, state.free_port(from)?);
    let refuses = state.refuses(to);
    let reachable = |bound: &&mut Bound| !refuses && (!bound.loopback || address.ip().is_loopback());
    let Some(bound) = state.bound.get_mut(&(to, port)).filter(reachable) else {
        world.record(state, Event::Refused { from: dialler, to: dialled, port });
        return Err(ErrorKind::ConnectionRefused.into());
    };
    state.next_connection += 1;
    let id = state.next_connection;
    bound.backlog.push_back((id, local));
    wakers.extend(bound.acceptor.take());
    state.connections.insert(id, Connection::new([from, to]));
    world.record(state, Event::Connected { connection: id, from: dialler, to: dialled, port });
    Ok((id, address))
}

/// Listens at a port of a host.
pub(super) fn bind(world: &Arc<World>, host: HostId, address: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
    world.with(|state, _| {
        let (loopback, own) = (address.ip().is_loopback(), state.ip(host));
        if !loopback && !address.ip().is_unspecified() && address.ip() != own {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let port = if address.port() == 0 { state.free_port(host)? } else { address.port() };
        if state.bound.contains_key(&(host, port)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        state.bound.insert((host, port), Bound { loopback, ..Bound::default() });
        let local = SocketAddr::new(if loopback { Ipv4Addr::LOCALHOST.into() } else { own }, port);
        Ok(Box::new(SimAcceptor { world: world.clone(), host, local }) as Box<dyn Acceptor>)
    })
}

struct SimAcceptor {
    world: Arc<World>,
    host: HostId,
    local: SocketAddr,
}

impl SimAcceptor {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<(u64, SocketAddr)> {
        self.world.with(|state, _| {
            let Some(bound) = state.bound.get_mut(&(self.host, self.local.port())) else { return Poll::Pending };
            let Some((id, peer)) = bound.backlog.pop_front() else {
                bound.acceptor = Some(cx.waker().clone());
                return Poll::Pending;
            };
            self.world.record(state, Event::Accepted { connection: id });
            Poll::Ready((id, peer))
        })
    }
}

impl Acceptor for SimAcceptor {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn accept(&mut self) -> Pin<Box<dyn Future<Output = io::Result<BoxSocket>> + Send + '_>> {
        Box::pin(async move {
            let (id, peer) = poll_fn(|cx| self.poll_accept(cx)).await;
            Ok(SimSocket::boxed(self.world.clone(), id, ACCEPTOR, peer))
        })
    }
}

impl Drop for SimAcceptor {
    fn drop(&mut self) {
        let bound = self.world.with(|state, _| state.bound.remove(&(self.host, self.local.port())));
        // Who was never accepted is reset.
        for (id, _) in bound.into_iter().flat_map(|bound| bound.backlog) {
            self.world.close(id, ACCEPTOR, true);
        }
    }
}

/// One end of a connection.
struct SimSocket {
    world: Arc<World>,
    connection: u64,
    end: usize,
    peer: SocketAddr,
    aborted: bool,
    /// Wakes the reader when what is under way arrives.
    arrival: Option<Pin<Box<Sleep>>>,
}

impl SimSocket {
    fn boxed(world: Arc<World>, connection: u64, end: usize, peer: SocketAddr) -> BoxSocket {
        Box::new(Self { world, connection, end, peer, aborted: false, arrival: None })
    }
}

impl Socket for SimSocket {
    fn abort(&mut self) {
        self.aborted = true;
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for SimSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let due = match self.world.read(self.connection, self.end, buf, cx.waker()) {
                Found::Done(result) => return Poll::Ready(result),
                Found::Nothing(due) => due,
            };
            let Some(due) = due else { return Poll::Pending };
            let sleep = self.arrival.insert(Box::pin(tokio::time::sleep_until(due.into())));
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

impl AsyncWrite for SimSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.world.write(self.connection, self.end, bufs, cx.waker())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.world.with(|state, wakers| self.world.end(state, self.connection, self.end, wakers));
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.world.close(self.connection, self.end, self.aborted);
    }
}
