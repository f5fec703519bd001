//! The table of the public surface, `tests/surface.toml`, and what each language really has.
//!
//! One module per language looks its symbols up: each exists, and is documented. Where a language can be listed, nothing of it is missing in
//! the table.
#![allow(clippy::disallowed_methods)]

mod c;
mod cli;
mod python;
mod rust;
mod table;
