//! Habits of the repository: what its files say about one another is true, and nothing in them is left undone.
#![allow(clippy::disallowed_methods)]

mod citations;
mod documents;
mod files;
mod links;
mod protocol;
mod scenarios;
mod sources;
mod vectors;
