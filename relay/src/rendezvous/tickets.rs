//! Tickets: the credential of a rendezvous address (protocol.md 10, decision 15).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hybridrelay::env::Env;

use super::junction::Junction;
use crate::node::lock;

/// 128 random bits in a form that every client's query parser takes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(String);

impl Ticket {
    pub(super) fn new(env: &Env) -> Self {
        Self(URL_SAFE_NO_PAD.encode(env.random::<16>()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(…)")
    }
}

/// The tickets that are good now. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Tickets(Arc<Mutex<HashMap<String, Entry>>>);

struct Entry {
    path_and_query: String,
    junction: Arc<dyn Junction>,
}

/// A ticket that is good until this is dropped or it is used.
pub(crate) struct Issued {
    tickets: Tickets,
    ticket: Ticket,
}

impl Tickets {
    /// Makes a ticket good for an address, byte for byte.
    pub(super) fn issue(&self, ticket: Ticket, path_and_query: String, junction: Arc<dyn Junction>) -> Issued {
        lock(&self.0).insert(ticket.0.clone(), Entry { path_and_query, junction });
        Issued { tickets: self.clone(), ticket }
    }

    /// What a ticket leads to and what follows the issued address; `None` for that if the request does not begin with it, byte
    /// for byte. The ticket stays good.
    pub(super) fn find<'a>(
        &self,
        ticket: &str,
        path_and_query: &'a str,
    ) -> Option<(Arc<dyn Junction>, Option<&'a str>)> {
        let tickets = lock(&self.0);
        let entry = tickets.get(ticket)?;
        Some((entry.junction.clone(), path_and_query.strip_prefix(entry.path_and_query.as_str())))
    }

    /// Voids a ticket; `false` if somebody else was faster.
    pub(super) fn redeem(&self, ticket: &str) -> bool {
        lock(&self.0).remove(ticket).is_some()
    }
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.tickets.redeem(&self.ticket.0);
    }
}
