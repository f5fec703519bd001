//! The Python package as its users meet it: pytest runs each file of `tests`, with the extension that cargo has just built.

use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Puts the extension where the package looks for it. What cargo builds lies beside the tests.
fn install_extension() {
    let tests = std::env::current_exe().expect("a path");
    let built = tests.parent().expect("a folder").join("libhybridrelay_python.so");
    let place = Path::new(ROOT).join("python/hybridrelay/_native.abi3.so");
    if place.read_link().is_ok_and(|link| link == built) {
        return;
    }
    // Several tests may come here at once: each makes a link of its own, and the last one stays.
    let own = place.with_extension(format!("{:?}", std::thread::current().id()));
    std::os::unix::fs::symlink(&built, &own).expect("a link");
    std::fs::rename(&own, &place).expect("a place for the link");
}

fn python() -> PathBuf {
    let python = Path::new(ROOT).join("../target/python/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
    python
}

/// Runs one file of tests. Warnings are errors, resources that nobody closed included.
fn passes(file: &str) {
    install_extension();
    let output = Command::new(python())
        .args(["-X", "dev", "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(format!("tests/{file}"))
        .current_dir(ROOT)
        .env("PYTHONPATH", Path::new(ROOT).join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("a virtual environment");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {}\n{said}", output.status);
}

/// One test for each file, so that several run at once and each can be asked for.
macro_rules! files {
    ($($name:ident => $file:literal,)*) => {
        $(#[test]
        fn $name() {
            passes($file);
        })*

        #[test]
        fn every_file_of_tests_is_run() {
            let listed = [$($file),*];
            for entry in std::fs::read_dir(Path::new(ROOT).join("tests")).expect("a folder") {
                let name = entry.expect("an entry").file_name().into_string().expect("a name");
                assert!(!name.starts_with("test_") || listed.contains(&name.as_str()), "{name} is run by nobody");
            }
        }
    };
}

files! {
    applications_of_frameworks_need_no_change => "test_frameworks.py",
    asgi_applications_are_served => "test_asgi.py",
    blocking_calls_need_no_event_loop => "test_sync.py",
    a_relay_is_an_instrument_of_tests => "test_local.py",
    bytes_are_asyncio_streams => "test_streams.py",
    clients_of_httpx_reach_listeners => "test_httpx.py",
    events_and_presence => "test_events.py",
    failures_are_exceptions => "test_errors.py",
    logs_go_to_logging => "test_logging.py",
    loops_threads_forks_and_exits => "test_robustness.py",
    messages_go_both_ways => "test_messages.py",
    requests_are_answered => "test_requests.py",
    tokens_come_from_anywhere => "test_tokens.py",
    types_stubs_and_documentation => "test_package.py",
    waits_that_are_cancelled_lose_nothing => "test_cancelling.py",
    wsgi_applications_are_served => "test_wsgi.py",
}
