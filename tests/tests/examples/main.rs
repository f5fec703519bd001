//! The programs of `examples/`: each idea's, in every language, against each other's.
#![allow(clippy::disallowed_methods)]

mod complete;
mod ideas;
mod language;
mod run;
