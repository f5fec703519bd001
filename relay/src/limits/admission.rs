//! What one accepted socket takes up, from its first byte to its last.

use std::sync::Mutex;

use super::{AddressBlock, Exceeded, Permit, Quotas, Resource, Scope};
use crate::node::lock;

/// The places of one socket. It goes with the socket through an upgrade, and a relayed connection holds two of them for life.
#[derive(Debug)]
pub(crate) struct Admission {
    _socket: Permit,
    address: Option<AddressBlock>,
    /// Boxed, since most sockets have long been authorised.
    stranger: Mutex<Option<Box<Stranger>>>,
}

/// The places of a socket that nothing is known of yet.
#[derive(Debug)]
struct Stranger {
    _unauthenticated: Permit,
    handshake: Option<Permit>,
}

impl Admission {
    /// Lets a socket in, if there is room for one more that nothing is known of.
    pub(crate) fn enter(quotas: &Quotas, address: Option<AddressBlock>) -> Result<Self, Exceeded> {
        let socket = quotas.take(Resource::Socket, [Scope::Relay])?;
        let unauthenticated = quotas.take(Resource::Unauthenticated, scopes(address))?;
        let stranger = Stranger { _unauthenticated: unauthenticated, handshake: None };
        Ok(Self { _socket: socket, address, stranger: Mutex::new(Some(Box::new(stranger))) })
    }

    /// Waits until it is this socket's turn to shake hands. Others of its address wait among themselves, so that they do not stand
    /// in anybody's way.
    pub(crate) async fn begin_handshake(&self, quotas: &Quotas) {
        let permit = quotas.wait(Resource::Handshake, scopes(self.address)).await;
        if let Some(stranger) = &mut *lock(&self.stranger) {
            stranger.handshake = Some(permit);
        }
    }

    /// Its first request was answered, so the handshake is over.
    pub(crate) fn answered(&self) {
        if let Some(stranger) = &mut *lock(&self.stranger) {
            stranger.handshake = None;
        }
    }

    /// It may do what it asked for: by a token, by a ticket, or because nobody needs one. From here on other limits count it.
    pub(crate) fn authorized(&self) {
        lock(&self.stranger).take();
    }
}

fn scopes(address: Option<AddressBlock>) -> impl Iterator<Item = Scope> {
    address.map(Scope::Address).into_iter().chain([Scope::Relay])
}
