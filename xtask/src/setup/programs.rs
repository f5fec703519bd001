//! Programs that tests and benchmarks start. As root on Debian, missing ones are installed; elsewhere they are named, all at once.

use std::fmt::Write;

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

/// A C compiler is not among them although aws-lc-sys needs one: this program was linked by it.
pub(super) const FOR_TESTS: &[Program] = &[
    Program {
        name: "c++",
        probe: Probe::OnPath("c++"),
        from: Source::Debian("g++"),
        why: "the C library's header is one for C++ too",
    },
    Program {
        name: "certutil",
        probe: Probe::OnPath("certutil"),
        from: Source::Debian("libnss3-tools"),
        why: "the browser is told to trust the relay's authority",
    },
    Program {
        name: "chromium",
        probe: Probe::OnPath("chromium"),
        from: Source::Debian("chromium"),
        why: "a browser's WebSocket is one of the senders",
    },
    Program {
        name: "cmake and ctest",
        probe: Probe::OnPath("cmake"),
        from: Source::Debian("cmake"),
        why: "a C program finds the installed C library by it",
    },
    Program {
        name: "cc and nm",
        probe: Probe::OnPath("nm"),
        from: Source::Debian("gcc"),
        why: "C programs are linked to the C library",
    },
    Program {
        name: "curl",
        probe: Probe::OnPath("curl"),
        from: Source::Debian("curl"),
        why: "an HTTP client that is not ours asks the relay",
    },
    Program {
        name: "cjson/cJSON.h",
        probe: Probe::Header("cjson/cJSON.h"),
        from: Source::Debian("libcjson-dev"),
        why: "the C program of the conformance tests reads JSON",
    },
    Program {
        name: "danted",
        probe: Probe::OnPath("danted"),
        from: Source::Debian("dante-server"),
        why: "a SOCKS proxy between our own programs and the relay",
    },
    Program {
        name: "groff",
        probe: Probe::OnPath("groff"),
        from: Source::Debian("groff-base"),
        why: "it finds fault with manual pages",
    },
    Program {
        name: "ip",
        probe: Probe::OnPath("ip"),
        from: Source::Debian("iproute2"),
        why: "fault tests build network namespaces",
    },
    Program {
        name: "nft",
        probe: Probe::OnPath("nft"),
        from: Source::Debian("nftables"),
        why: "fault tests drop and refuse packets there",
    },
    Program {
        name: "nginx",
        probe: Probe::OnPath("nginx"),
        from: Source::Debian("nginx"),
        why: "a web server that is not ours stands behind the command line's expose",
    },
    Program {
        name: "openssl",
        probe: Probe::OnPath("openssl"),
        from: Source::Debian("openssl"),
        why: "a TLS stack that is not ours looks at certificates",
    },
    Program {
        name: "openssl/evp.h",
        probe: Probe::Header("openssl/evp.h"),
        from: Source::Debian("libssl-dev"),
        why: "the C program of the conformance tests makes digests",
    },
    Program {
        name: "pkg-config",
        probe: Probe::OnPath("pkg-config"),
        from: Source::Debian("pkg-config"),
        why: "a C program finds the installed C library by it",
    },
    Program {
        name: "python3.11 with venv",
        probe: Probe::PythonWithVenv,
        from: Source::Debian("python3-venv"),
        why: "the Python package is tested in it, and other people's senders live there",
    },
    Program {
        name: "squid",
        probe: Probe::OnPath("squid"),
        from: Source::Debian("squid"),
        why: "an HTTP proxy between our own programs and the relay",
    },
    Program {
        name: "systemd-analyze",
        probe: Probe::OnPath("systemd-analyze"),
        from: Source::Debian("systemd"),
        why: "it finds fault with the service's unit",
    },
    Program {
        name: "tinyproxy",
        probe: Probe::OnPath("tinyproxy"),
        from: Source::Debian("tinyproxy"),
        why: "another HTTP proxy, with habits of its own",
    },
    Program {
        name: "node 20 or later",
        probe: Probe::Node(20),
        from: Source::Elsewhere("Debian 13's nodejs, or https://nodejs.org"),
        why: "the official clients run on it",
    },
    Program {
        name: "npm",
        probe: Probe::OnPath("npm"),
        from: Source::Elsewhere("it comes with node, or is Debian's npm"),
        why: "the official clients are its packages",
    },
];

/// What the C tests are looked at with, beside what they need themselves.
pub(super) const FOR_VALGRIND: &[Program] = &[
    Program {
        name: "cmake and ctest",
        probe: Probe::OnPath("cmake"),
        from: Source::Debian("cmake"),
        why: "it builds the tests and runs them",
    },
    Program {
        name: "valgrind",
        probe: Probe::OnPath("valgrind"),
        from: Source::Debian("valgrind"),
        why: "the tests run in it",
    },
];

/// What makes the root file system in which the Autobahn suite lives.
pub(super) const FOR_AUTOBAHN: &[Program] = &[
    Program {
        name: "mmdebstrap",
        probe: Probe::OnPath("mmdebstrap"),
        from: Source::Debian("mmdebstrap"),
        why: "the suite needs an older Debian around it",
    },
    Program {
        name: "chroot",
        probe: Probe::OnPath("chroot"),
        from: Source::Debian("coreutils"),
        why: "the suite runs in there",
    },
];

/// What the relay is measured with.
pub(super) const FOR_BENCH: &[Program] = &[
    Program {
        name: "haproxy",
        probe: Probe::OnPath("haproxy"),
        from: Source::Debian("haproxy"),
        why: "the relay is measured beside it",
    },
    Program {
        name: "ip",
        probe: Probe::OnPath("ip"),
        from: Source::Debian("iproute2"),
        why: "the measurement takes place in a network namespace",
    },
    Program {
        name: "libcurl",
        probe: Probe::Header("curl/curl.h"),
        from: Source::Debian("libcurl4-openssl-dev"),
        why: "requests from C are measured beside it",
    },
    Program {
        name: "libwebsockets",
        probe: Probe::Header("libwebsockets.h"),
        from: Source::Debian("libwebsockets-dev"),
        why: "streams from C are measured beside it",
    },
    Program {
        name: "python3.11 with venv",
        probe: Probe::PythonWithVenv,
        from: Source::Debian("python3-venv"),
        why: "the NATS server beside which events are measured is one of its packages, and the Python package is measured in it",
    },
];

pub(super) struct Program {
    name: &'static str,
    probe: Probe,
    from: Source,
    why: &'static str,
}

enum Probe {
    OnPath(&'static str),
    /// A file of a C library, where distributions keep it.
    Header(&'static str),
    /// At least this major version.
    Node(u32),
    /// Python 3.11 or later. Debian keeps venv's pip apart from it.
    PythonWithVenv,
}

enum Source {
    /// A package that every supported Debian has.
    Debian(&'static str),
    /// Not installed by us.
    Elsewhere(&'static str),
}

impl Program {
    fn is_missing(&self, sh: &Shell) -> bool {
        match self.probe {
            Probe::OnPath(name) => !is_on_path(sh, name),
            Probe::Header(name) => {
                let of_debian = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
                let folders = ["/usr/include", "/usr/local/include", &of_debian];
                !folders.iter().any(|folder| sh.path_exists(format!("{folder}/{name}")))
            }
            Probe::Node(least) => node_major(sh).is_none_or(|major| major < least),
            Probe::PythonWithVenv => {
                let probe = "import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))";
                cmd!(sh, "python3 -c {probe}").quiet().ignore_stderr().output().is_err()
            }
        }
    }

    fn debian_package(&self) -> Option<&'static str> {
        match self.from {
            Source::Debian(package) => Some(package),
            Source::Elsewhere(_) => None,
        }
    }
}

/// Makes sure that all of these programs are there.
pub(super) fn require(sh: &Shell, programs: &'static [Program]) -> Result<()> {
    // Debian keeps `ip`, `nft` and `haproxy` where an ordinary user's PATH does not look.
    let path = sh.var("PATH").unwrap_or_default();
    sh.set_var("PATH", format!("{path}:/usr/sbin:/sbin"));

    let mut missing = missing(sh, programs);
    if missing.iter().any(|program| program.debian_package().is_some()) && may_install(sh) {
        install(sh, &missing)?;
        missing = self::missing(sh, programs);
    }
    if missing.is_empty() { Ok(()) } else { bail!(explain(&missing)) }
}

fn missing(sh: &Shell, programs: &'static [Program]) -> Vec<&'static Program> {
    programs.iter().filter(|program| program.is_missing(sh)).collect()
}

fn is_on_path(sh: &Shell, name: &str) -> bool {
    let path = sh.var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

fn node_major(sh: &Shell) -> Option<u32> {
    let version = cmd!(sh, "node --version").quiet().ignore_stderr().read().ok()?;
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

fn may_install(sh: &Shell) -> bool {
    let is_root = cmd!(sh, "id -u").quiet().read().is_ok_and(|id| id.trim() == "0");
    is_root && sh.path_exists("/etc/debian_version") && is_on_path(sh, "apt-get")
}

fn install(sh: &Shell, missing: &[&Program]) -> Result<()> {
    let packages: Vec<_> = missing.iter().filter_map(|program| program.debian_package()).collect();
    let _frontend = sh.push_env("DEBIAN_FRONTEND", "noninteractive");
    // A foreign source that cannot be reached must not stop what the others have; the install is what counts.
    cmd!(sh, "apt-get update --quiet").ignore_status().run()?;
    let _quiet = NoDaemons::hold(sh)?;
    cmd!(sh, "apt-get install --yes --quiet --no-install-recommends {packages...}").run()?;
    Ok(())
}

/// Keeps packages from starting their daemons: Debian asks this file before it starts one. One that is there already stays in charge.
struct NoDaemons<'a> {
    sh: &'a Shell,
    is_ours: bool,
}

/// Answers that nothing may be done.
const POLICY: (&str, &str) = ("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n");

impl<'a> NoDaemons<'a> {
    fn hold(sh: &'a Shell) -> Result<Self> {
        let (path, script) = POLICY;
        let held = Self { sh, is_ours: !sh.path_exists(path) };
        if held.is_ours {
            sh.write_file(path, script)?;
            cmd!(sh, "chmod 755 {path}").quiet().run()?;
        }
        Ok(held)
    }
}

impl Drop for NoDaemons<'_> {
    fn drop(&mut self) {
        if self.is_ours {
            // Left behind, it would keep the machine's services from starting.
            let _ = self.sh.remove_path(POLICY.0);
        }
    }
}

/// Everything that is missing, why it is wanted and where to get it.
fn explain(missing: &[&Program]) -> String {
    let mut text = "programs are needed that are not here:".to_owned();
    for Program { name, why, from, .. } in missing {
        let from = match from {
            Source::Debian(package) => format!("Debian's {package}"),
            Source::Elsewhere(place) => (*place).to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {name:<20}{why} ({from})");
    }
    let packages: Vec<_> = missing.iter().filter_map(|program| program.debian_package()).collect();
    if !packages.is_empty() {
        let _ = write!(text, "\non Debian: apt-get install {}", packages.join(" "));
    }
    text
}
