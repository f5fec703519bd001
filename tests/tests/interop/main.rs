//! Programs of other stacks meet the relay and the SDK: the official Node.js client, plain WebSocket clients, a page in a browser,
//! curl, a reader of feeds. What they are and how they are driven stands in `tests/interop/README.md`.

// Real sockets, processes and time are the point here.
#![allow(clippy::disallowed_methods)]

mod browser;
mod cors;
mod curl;
mod end;
mod events;
mod feed;
mod hyco_ws;
mod plain_clients;
mod relay;
mod requests;
mod scenarios;
mod stacks;
