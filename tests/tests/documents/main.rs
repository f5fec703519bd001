//! The blocks of the documents do what they show: commands run, configurations are taken, data is well-formed.
//!
//! What a fence's language means:
//!
//! | language | what is done |
//! |---|---|
//! | none | a drawing or a grammar: nothing; it holds no command |
//! | `rust` | compiled and run by the test binary `house` |
//! | `console` | each line behind `$ ` or `# ` (as root) runs, see `console` |
//! | `toml` | a relay's configuration: `hybridrelay config check` takes it |
//! | `json` | parsed: one value, or one on each line |
//! | `nginx` | a part of a `server`: `nginx -t` takes it |
//! | `yaml` | probes of a container: the relay answers their paths with 200 |
//! | `c` | a source file: compiles against the C library's header without a warning |
//!
//! Any other language fails, unless a row of `instead` says why its blocks are left alone. What is done instead of a command that takes
//! minutes or changes the machine stands with its reason there as well.
#![allow(clippy::disallowed_methods)]

mod configuration;
mod console;
mod fences;
mod instead;
mod open;
mod room;
