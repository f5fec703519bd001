//! What runs instead of what a document says, and why: nothing of a document is passed over without a row here.

/// A part of a command line that is replaced.
pub(crate) struct Instead {
    pub(crate) written: &'static str,
    pub(crate) run: &'static str,
    #[expect(dead_code, reason = "for whoever reads or extends the table")]
    why: &'static str,
}

const fn instead(written: &'static str, run: &'static str, why: &'static str) -> Instead {
    Instead { written, run, why }
}

/// Each row is needed by some document.
///
/// `:` is the shell's command that does nothing, whatever its arguments. `options_of` asks whether a task and its options exist.
pub(crate) const INSTEAD: &[Instead] = &[
    instead(
        "cargo run --release -p hybridrelay-cli --",
        "hybridrelay",
        "a release build takes minutes; the program is built",
    ),
    instead("cargo run -p hybridrelay-examples --example", "example", "cargo waits for the cargo that runs this test"),
    instead("cargo build --release", ":", "a release build takes minutes; the program is built"),
    instead("cargo xtask", "options_of", "the tasks take minutes to hours, and one of them is this test"),
    instead("cargo +nightly fuzz", ":", "it needs a nightly compiler; `cargo xtask check` compiles the targets"),
    instead(
        "systemctl",
        ":",
        "no service is started on the machine of a test; `cli/tests/cli/supervisor.rs` checks the unit",
    ),
    instead("pip install", ":", "nothing is published; `cargo xtask dist python` installs what it has built"),
    instead(
        "cc program.c $(pkg-config --cflags --libs hybridrelay",
        ": $(true hybridrelay",
        "the prefix is not installed; `ffi-c/tests/installed.rs` builds against one by pkg-config",
    ),
    instead("cargo test -p hybridrelay-tests", ":", "cargo waits for the cargo that runs this test"),
    instead("podman", ":", "a container image takes minutes and a registry"),
    instead(
        "hybridrelay serve --config",
        "hybridrelay config show --redacted",
        "ports below 1024; `serve_file.rs` serves by files",
    ),
    instead(" /etc/", " \"$MACHINE\"/etc/", "a test changes nothing of the machine"),
    instead(" /usr/", " \"$MACHINE\"/usr/", "a test changes nothing of the machine"),
];

/// Commands that go on until they are stopped: they run beside the others until the end of the document. Each says when it is ready.
pub(crate) const SERVERS: &[&str] = &[
    "hybridrelay serve --dev",
    "hybridrelay listen",
    "hybridrelay expose",
    "hybridrelay subscribe",
    "examples/echo/echo.sh listen",
];

/// Blocks that nothing checks: document, language, and why.
pub(crate) const UNCHECKED: &[(&str, &str, &str)] = &[
    ("bindings-python/README.md", "python", "the tests of the package run it: bindings-python/tests/installed"),
    ("ffi-c/README.md", "cmake", "ffi-c/tests/installed.rs builds a program by CMake in the same words"),
];
