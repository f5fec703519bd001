//! What a rendezvous leads to: the place where a leg that a listener dialled is handed over.

use std::sync::Mutex;

use hybridrelay::protocol::uri::Rejection;
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;

use crate::edge::SocketPermit;
use crate::node::lock;

/// A side whose handshake is being answered.
#[derive(Debug)]
pub(crate) struct PendingLeg {
    pub(crate) upgrade: OnUpgrade,
    /// Its place in the limit of sockets, kept while it is relayed.
    pub(crate) permit: SocketPermit,
    /// The sub-protocol that both sides get in their 101.
    pub(crate) subprotocol: Option<String>,
}

/// What a listener did with an invitation.
#[derive(Debug)]
pub(crate) enum Answer {
    Accepted(PendingLeg),
    Rejected(Rejection),
}

impl Answer {
    /// The side that the listener dialled with, if it did not refuse.
    pub(crate) fn accepted(self) -> Option<PendingLeg> {
        match self {
            Self::Accepted(leg) => Some(leg),
            Self::Rejected(_) => None,
        }
    }
}

/// Where an invited listener's leg goes: to the one sender that waits for it, or to a hub.
pub(crate) trait Junction: Send + Sync {
    /// The sub-protocol for a listener that offers these (protocol.md 4.3).
    fn subprotocol(&self, offered_by_listener: &[String]) -> Option<String>;

    /// Hands the answer over; `false` if nobody waits for it any more.
    fn answer(&self, answer: Answer) -> bool;
}

/// One sender and one listener.
pub(crate) struct Pair {
    offered_by_sender: Vec<String>,
    sender: Waiting,
}

/// A listener's place at a hub, whose sender was answered before.
pub(crate) struct Seat {
    subprotocol: Option<String>,
    hub: Waiting,
}

/// Whoever waits for the answer, until it came.
type Waiting = Mutex<Option<oneshot::Sender<Answer>>>;

impl Pair {
    /// A junction for a sender that offers these sub-protocols, and the end at which it waits.
    pub(crate) fn new(offered_by_sender: Vec<String>) -> (Self, oneshot::Receiver<Answer>) {
        let (sender, answer) = oneshot::channel();
        (Self { offered_by_sender, sender: Mutex::new(Some(sender)) }, answer)
    }
}

impl Junction for Pair {
    fn subprotocol(&self, offered_by_listener: &[String]) -> Option<String> {
        match offered_by_listener {
            // One that the sender did not offer is passed on; its library will refuse it.
            [only] => Some(only.clone()),
            several => several.iter().find(|name| self.offered_by_sender.contains(name)).cloned(),
        }
    }

    fn answer(&self, answer: Answer) -> bool {
        hand_over(&self.sender, answer)
    }
}

impl Seat {
    /// A place at a hub whose sender got this sub-protocol, and the end at which the hub waits.
    pub(crate) fn new(subprotocol: Option<String>) -> (Self, oneshot::Receiver<Answer>) {
        let (hub, answer) = oneshot::channel();
        (Self { subprotocol, hub: Mutex::new(Some(hub)) }, answer)
    }
}

impl Junction for Seat {
    fn subprotocol(&self, offered_by_listener: &[String]) -> Option<String> {
        self.subprotocol.clone().filter(|name| offered_by_listener.contains(name))
    }

    fn answer(&self, answer: Answer) -> bool {
        hand_over(&self.hub, answer)
    }
}

fn hand_over(waiting: &Waiting, answer: Answer) -> bool {
    lock(waiting).take().is_some_and(|waiting| waiting.send(answer).is_ok())
}
