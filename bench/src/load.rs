//! The load: raw sockets, prepared frames, blocking threads.

pub(crate) mod block;
pub(crate) mod entrance;
mod leg;

pub(crate) use block::Block;
pub(crate) use entrance::{Entrance, Pair};
pub(crate) use leg::Leg;
