//! Somebody who stands between a peer and the relay, passes bytes on, and can cut what passes.

use std::net::SocketAddr;
use std::pin::pin;
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::netns::Namespace;

/// How connections end that are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a reset in both directions.
    Reset,
    /// As if both ends had finished: an end of stream in both directions.
    End,
}

/// What happens to what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Pass,
    /// What is there is cut now; what comes later passes.
    Cut(Ending),
    /// Each connection, also a new one, is cut when so many more bytes have come from the relay.
    CutAfter(usize, Ending),
}

/// The one in between; it ends when dropped.
#[derive(Debug)]
pub struct Middle {
    orders: watch::Sender<Order>,
    admits: watch::Sender<bool>,
    cuts: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Middle {
    /// Stands at an address in a namespace, before another one.
    pub fn start(namespace: &Namespace, address: SocketAddr, relay: SocketAddr) -> Self {
        Self::run(|body| namespace.thread(body), address, relay)
    }

    /// Stands at an address of this host.
    pub fn start_here(address: SocketAddr, relay: SocketAddr) -> Self {
        Self::run(std::thread::spawn, address, relay)
    }

    fn run(
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> JoinHandle<()>,
        address: SocketAddr,
        relay: SocketAddr,
    ) -> Self {
        let (orders, ordered) = watch::channel(Order::Pass);
        let (admits, admitted) = watch::channel(true);
        let (count, cuts) = watch::channel(0);
        let (bound, ready) = std::sync::mpsc::channel();
        let body = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(stand(address, relay, ordered, admitted, count, bound));
        };
        let thread = spawn(Box::new(body));
        ready.recv().expect("the address is free");
        Self { orders, admits, cuts, thread: Some(thread) }
    }

    /// Cuts everything that passes now.
    pub fn cut(&self, ending: Ending) {
        self.orders.send_replace(Order::Cut(ending));
    }

    /// Cuts each connection when so many more bytes have come from the relay on it, until [`pass`](Self::pass).
    pub fn cut_after(&self, bytes: usize, ending: Ending) {
        self.orders.send_replace(Order::CutAfter(bytes, ending));
    }

    /// Lets everything pass again.
    pub fn pass(&self) {
        self.orders.send_replace(Order::Pass);
    }

    /// Whether new connections are taken; otherwise they are refused.
    pub fn admit(&self, yes: bool) {
        self.admits.send_replace(yes);
    }

    /// How many connections were cut so far; waits for more than `before`.
    pub async fn cut_more_than(&self, before: u64) -> u64 {
        let mut cuts = self.cuts.clone();
        *cuts.wait_for(|count| *count > before).await.expect("the thread runs")
    }

    /// How many connections were cut so far.
    pub fn cuts(&self) -> u64 {
        *self.cuts.borrow()
    }
}

impl Drop for Middle {
    fn drop(&mut self) {
        // The thread ends with its orders.
        self.orders = watch::channel(Order::Pass).0;
        self.admits = watch::channel(true).0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn stand(
    address: SocketAddr,
    relay: SocketAddr,
    orders: watch::Receiver<Order>,
    mut admits: watch::Receiver<bool>,
    cuts: watch::Sender<u64>,
    bound: std::sync::mpsc::Sender<()>,
) {
    loop {
        if admits.wait_for(|yes| *yes).await.is_err() {
            return;
        }
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let _ = bound.send(());
        loop {
            tokio::select! {
                changed = admits.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                accepted = listener.accept() => {
                    let (mut peer, _) = accepted.expect("a connection can be accepted");
                    let (mut orders, cuts) = (orders.clone(), cuts.clone());
                    // What was ordered before concerns others, except what is for new ones.
                    let begin = match *orders.borrow_and_update() {
                        Order::Cut(_) => Order::Pass,
                        order => order,
                    };
                    tokio::spawn(async move {
                        let Ok(mut relay) = TcpStream::connect(relay).await else { return };
                        if let Some(ending) = pass_on(&mut peer, &mut relay, begin, orders).await {
                            if ending == Ending::Reset {
                                // Failure leaves an ordinary end.
                                let _ = peer.set_zero_linger().and_then(|()| relay.set_zero_linger());
                            }
                            drop((peer, relay));
                            cuts.send_modify(|count| *count += 1);
                        }
                    });
                }
            }
        }
    }
}

/// Passes bytes on in both directions. Returns how the connection is to be cut, `None` when it has ended by itself.
async fn pass_on(
    peer: &mut TcpStream,
    relay: &mut TcpStream,
    order: Order,
    orders: watch::Receiver<Order>,
) -> Option<Ending> {
    let ((peer_reads, peer_writes), (relay_reads, relay_writes)) = (peer.split(), relay.split());
    let cut = cut_by_order(orders.clone());
    let passing = async {
        let (mut up, mut down) =
            (pin!(up(peer_reads, relay_writes)), pin!(down(relay_reads, peer_writes, order, orders)));
        tokio::select! {
            ending = &mut down => match ending {
                Some(ending) => Some(ending),
                None => {
                    up.await;
                    None
                }
            },
            () = &mut up => down.await,
        }
    };
    tokio::select! {
        ending = cut => Some(ending),
        ending = passing => ending,
    }
}

async fn cut_by_order(mut orders: watch::Receiver<Order>) -> Ending {
    while orders.changed().await.is_ok() {
        if let Order::Cut(ending) = *orders.borrow_and_update() {
            return ending;
        }
    }
    Ending::Reset
}

async fn up(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
    // An error is an end as well: the other direction meets the same.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// Returns how the connection is to be cut when the bytes that were ordered have passed.
async fn down(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut order: Order,
    mut orders: watch::Receiver<Order>,
) -> Option<Ending> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let most = match order {
            Order::CutAfter(0, ending) => return Some(ending),
            Order::CutAfter(left, _) => left.min(buffer.len()),
            Order::Pass | Order::Cut(_) => buffer.len(),
        };
        tokio::select! {
            changed = orders.changed() => {
                changed.ok()?;
                order = *orders.borrow_and_update();
            }
            read = from.read(&mut buffer[..most]) => {
                let read = read.unwrap_or(0);
                if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                    let _ = to.shutdown().await;
                    return None;
                }
                if let Order::CutAfter(left, _) = &mut order {
                    *left -= read;
                }
            }
        }
    }
}
