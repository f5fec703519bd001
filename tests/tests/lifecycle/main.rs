//! How the process of a program ends, and what it holds while it runs, in each language. The programs are those of the conformance tests
//! (`tests/conformance/README.md`).

// Real processes, sockets and time are the point here.
#![allow(clippy::disallowed_methods)]

mod ends;
mod fork;
mod life;
mod memory;
