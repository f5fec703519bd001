//! The programs of other stacks, ready to take commands.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use hybridrelay_tests::program::{Program, patiently, prepared};
use tokio::process::Command;

use crate::relay::TestRelay;

const CHROMIUM: &str = "/usr/bin/chromium";

/// The official package.
pub(crate) async fn hyco_ws(relay: &TestRelay) -> Program {
    node(relay, "hyco-ws").await
}

/// The official package for HTTP.
pub(crate) async fn hyco_https(relay: &TestRelay) -> Program {
    node(relay, "hyco-https").await
}

/// The HTTP clients of Node.js, that of the official package among them.
pub(crate) async fn http(relay: &TestRelay) -> Program {
    node(relay, "http").await
}

/// The plain client of Node.js.
pub(crate) async fn ws(relay: &TestRelay) -> Program {
    node(relay, "ws").await
}

/// The plain client of Python.
pub(crate) async fn websockets(relay: &TestRelay) -> Program {
    let mut command = Command::new(prepared("target/interop/python/bin/python"));
    command.arg(prepared("tests/interop/python/sender.py")).env("CA_FILE", relay.ca_file());
    ready("websockets", command).await
}

/// A page in Chromium, from a file. The browser's profile lies in `home` and trusts the relay's authority.
pub(crate) async fn page(relay: &TestRelay, home: &Path) -> Program {
    browser(relay, home, None).await
}

/// The same page from a server.
pub(crate) async fn page_from(relay: &TestRelay, home: &Path, url: &str) -> Program {
    browser(relay, home, Some(url)).await
}

async fn browser(relay: &TestRelay, home: &Path, url: Option<&str>) -> Program {
    // Where Chromium looks for authorities that its user trusts.
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).expect("a directory");
    let database = format!("sql:{}", database.display());
    run("certutil", ["-N", "--empty-password", "-d", &database]).await;
    let ca_file = relay.ca_file().to_str().expect("a path in UTF-8");
    run("certutil", ["-A", "-d", &database, "-n", "hybridrelay", "-t", "C,,", "-i", ca_file]).await;

    prepared("tests/interop/node/node_modules/playwright-core");
    let mut command = Command::new("node");
    command.arg(prepared("tests/interop/node/browser.js")).arg(prepared(CHROMIUM)).args(url).env("HOME", home);
    ready("browser", command).await
}

/// Runs a command-line program to its end and returns what it printed.
pub(crate) async fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    run_with(program, arguments, Stdio::null()).await
}

/// The same with something on its standard input.
pub(crate) async fn run_with(
    program: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    stdin: Stdio,
) -> String {
    let output = Command::new(program).args(arguments).stdin(stdin).kill_on_drop(true).output();
    let output = patiently(program, output).await;
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; run `cargo xtask test`, which installs it"));
    let explanation = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} ended with {}: {explanation}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

async fn node(relay: &TestRelay, script: &str) -> Program {
    prepared("tests/interop/node/node_modules");
    let mut command = Command::new("node");
    command.arg(prepared(&format!("tests/interop/node/{script}.js"))).env("NODE_EXTRA_CA_CERTS", relay.ca_file());
    ready(script, command).await
}

async fn ready(name: &str, mut command: Command) -> Program {
    let program = Program::start(name, &mut command);
    program.expect("ready").await;
    program
}
