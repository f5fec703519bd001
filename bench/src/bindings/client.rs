//! The programs that are measured, in groups that are compared.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::case::Case;

/// Where the clients in C are built.
const BUILT: &str = "target/bench/clients";

/// Where `cargo xtask bench` installs what those in Python need, our package included.
const PYTHON: &str = "target/bench/python/bin/python";

/// Whose library is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// The C library, beside libwebsockets and libcurl.
    C,
    /// The Python package, beside websockets, httpx and uvicorn.
    Python,
}

/// A program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    C,
    Libwebsockets,
    Libcurl,
    Python,
    Websockets,
    Httpx,
    Uvicorn,
    /// uvicorn, to which this package forwards.
    Forwarded,
}

impl Language {
    /// Clients that are compared, ours first.
    pub(super) fn clients(self) -> &'static [Client] {
        match self {
            Self::C => &[Client::C, Client::Libwebsockets, Client::Libcurl],
            Self::Python => &[Client::Python, Client::Websockets, Client::Httpx, Client::Uvicorn, Client::Forwarded],
        }
    }

    /// How many times the other's rate ours has to be; `None` for one that does less, and is there to show what the rest costs.
    pub(super) fn wanted(self, case: Case, other: Client) -> Option<f64> {
        match (self, other) {
            // It is reached at a port, and ours through a relay: two processes more wake up for each request.
            (_, Client::Uvicorn) => None,
            (Self::Python, _) if case.is_one_way() => Some(2.0),
            _ => Some(1.0),
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::C => "C",
            Self::Python => "Python",
        })
    }
}

impl Client {
    pub(super) fn takes_part(self, case: Case) -> bool {
        match self {
            Self::C => !matches!(case, Case::Serve(_)),
            Self::Python => true,
            Self::Libwebsockets | Self::Websockets => !matches!(case, Case::Request(_) | Case::Serve(_)),
            Self::Libcurl | Self::Httpx => matches!(case, Case::Request(_)),
            Self::Uvicorn | Self::Forwarded => matches!(case, Case::Serve(_)),
        }
    }

    /// What runs it, without what it is asked to do.
    pub(super) fn command(self, case: Case) -> Result<Command> {
        let script = match self {
            Self::C | Self::Libwebsockets | Self::Libcurl => {
                let mut command = Command::new(self.build()?);
                command.env("LD_LIBRARY_PATH", BUILT);
                return Ok(command);
            }
            Self::Python if matches!(case, Case::Serve(_)) => "hybridrelay_serving",
            Self::Python => "hybridrelay_client",
            Self::Websockets => "websockets_client",
            Self::Httpx => "httpx_client",
            Self::Uvicorn => "uvicorn_serving",
            Self::Forwarded => "forwarded_serving",
        };
        let mut command = Command::new(PYTHON);
        command.arg("-B").arg(Path::new("bench/clients").join(script).with_extension("py"));
        Ok(command)
    }

    /// Builds a client in C.
    fn build(self) -> Result<PathBuf> {
        let (name, flags): (_, &[_]) = match self {
            Self::Libwebsockets => ("libwebsockets", &["-lwebsockets"]),
            Self::Libcurl => ("libcurl", &["-lcurl"]),
            _ => ("hybridrelay", &["-Iffi-c/include", "-Ltarget/release", "-lhybridrelay_c"]),
        };
        std::fs::create_dir_all(BUILT)?;
        let program = Path::new(BUILT).join(name);
        let source = Path::new("bench/clients").join(name).with_extension("c");
        let status = Command::new("cc")
            .args(["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-D_POSIX_C_SOURCE=200809L", "-o"])
            .arg(&program)
            .arg(source)
            .args(flags)
            .status()
            .context("cc does not run")?;
        ensure!(status.success(), "{self} cannot be built: {status}");
        if self == Self::C {
            // The library's soname is that of its release.
            let named = Path::new(BUILT).join("libhybridrelay.so.0");
            if named.symlink_metadata().is_err() {
                std::os::unix::fs::symlink("../../release/libhybridrelay_c.so", named)?;
            }
        }
        Ok(program)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::C => "hybridrelay, C",
            Self::Libwebsockets => "libwebsockets",
            Self::Libcurl => "libcurl",
            Self::Python => "hybridrelay, Python",
            Self::Websockets => "websockets",
            Self::Httpx => "httpx",
            Self::Uvicorn => "uvicorn",
            Self::Forwarded => "uvicorn, forwarded",
        })
    }
}
