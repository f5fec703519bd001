//! Proxies of the field between the SDK and the relay, and paths that die: machines with firewalls, made of network namespaces.
//!
//! Needs root, iproute2, nftables, and Debian's tinyproxy, squid and dante-server.

// Real processes and real time are the point here.
#![allow(clippy::disallowed_methods)]

mod dead_path;
mod http;
mod servers;
mod socks;
mod world;
