//! Talk to programs that cannot be reached: both sides dial out to a relay and meet there.
//!
//! This is the SDK for the *Hybrid Connections* protocol of Azure Relay and of the self-hosted `hybridrelay` server. A
//! [`Listener`] is online under a hybrid connection; a [`Sender`] anywhere else opens a [`Connection`] to it: one bidirectional,
//! unbuffered stream of messages or bytes. Neither side needs an open port.
//!
//! ```no_run
//! # async fn example() -> hybridrelay::Result<()> {
//! use hybridrelay::{Incoming, Message};
//!
//! let cs = "Endpoint=sb://relay.example.net/;SharedAccessKeyName=both;SharedAccessKey=…;EntityPath=hyco";
//! let listener = hybridrelay::listen(cs).await?;
//! while let Some(incoming) = listener.accept().await? {
//!     if let Incoming::Connect(connect) = incoming {
//!         let connection = connect.accept().await?;
//!         while let Some(message) = connection.receive().await? {
//!             connection.send(message).await?;
//!         }
//!         connection.close().await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! HTTP requests are relayed as well: a listener answers an [`Incoming::Request`], or serves a whole application with
//! [`Listener::forward`] and, with the feature `tower`, `Listener::serve`; a sender asks with [`Sender::request`], or with
//! [`Sender::send_one_way`] where it wants no answer.
//!
//! ```no_run
//! # async fn example(listener: hybridrelay::Listener, sender: hybridrelay::Sender) -> hybridrelay::Result<()> {
//! use hybridrelay::Incoming;
//!
//! // Where the listener is:
//! if let Some(Incoming::Request(request)) = listener.accept().await? {
//!     let (request, responder) = request.into_parts();
//!     let text = format!("you asked for {}", request.uri());
//!     responder.send(http::Response::new(text)).await?;
//! }
//!
//! // Anywhere else:
//! let request = http::Request::get("/orders/7?verbose=1").body(()).expect("a request");
//! let response = sender.request(request).await?;
//! println!("{} {:?}", response.status(), response.into_body().bytes(1 << 20).await?);
//! # Ok(())
//! # }
//! ```
//!
//! A relay of ours also tells who listens ([`Sender::presence`]) and what a namespace offers ([`Namespace`]); from Azure Relay such a call
//! gets `Unsupported`.
//!
//! Streams, limits, ends and cancellation are described at [`Connection`], [`Listener`] and [`Sender`]; every failure is an
//! [`Error`] with an [`ErrorKind`], the relay's own reason and a tracking id.

mod address;
mod connection;
mod connection_string;
mod dial;
pub mod env;
mod error;
mod events;
mod follow;
mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod link;
mod listener;
mod mask_keys;
mod namespace;
mod options;
mod output;
mod presence;
pub mod protocol;
mod sender;
mod serving;
pub mod token;
pub mod ws;

#[cfg(feature = "tower")]
pub use self::http::Serve;
pub use self::http::{
    Body, Cancellation, IncomingRequest, Mount, OneWay, ReasonPhrase, RemoteAddr, Responder, ResponseWriter,
};
pub use address::{EntityPath, RelayAddress};
pub use connection::{ByteStream, Connection, ConnectionReader, ConnectionWriter, Message};
pub use connection_string::ConnectionString;
pub use dial::Proxy;
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, EventOrigin, Events, Publisher, PublisherBuilder};
pub use forward::{ForwardEvent, Forwarded, Forwarder};
pub use listener::{AcceptConnect, Incoming, IncomingConnect, Listener, ListenerBuilder, Status, StatusWatcher};
pub use namespace::{Endpoint, EndpointEvent, EndpointEvents, Namespace, NamespaceBuilder};
pub use options::Target;
pub use presence::{Presence, PresenceEvent, PresenceEvents, PresenceWatcher, PresentListener};
pub use protocol::Features;
pub use sender::{Connect, Sender, SenderBuilder};
pub use token::TokenProvider;
pub use ws::CloseFrame;

/// Prepares a listener with default options; await it to get online. The same as [`Listener::builder`].
pub fn listen(target: impl Into<Target>) -> ListenerBuilder {
    Listener::builder(target)
}

/// Opens a connection with default options.
///
/// # Errors
///
/// As [`Sender::new`] and [`Connect::open`]. Dropping the future withdraws the attempt.
pub async fn connect(target: impl Into<Target>) -> Result<Connection> {
    Sender::new(target)?.connect().open().await
}
