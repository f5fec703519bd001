//! The library as it is installed: a C program finds it by pkg-config and by CMake, shared and static, and runs; the examples do what they
//! say; what the README shows compiles.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hybridrelay_bindings_common::call::block_on;
use hybridrelay_relay::{Entity, LocalRelay};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const STRICT: [&str; 6] = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-D_POSIX_C_SOURCE=200809L"];

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

/// What `cargo xtask dist c` lays out of the library that cargo has built for this test, moved since to another place.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, prefix) = PREFIX.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, prefix) = (folder.path().join("first"), folder.path().join("moved here"));
        let program = std::env::current_exe().expect("a path");
        run(Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--locked", "--package", "xtask", "--", "dist", "c", "--prefix"])
            .arg(&first)
            .arg("--artefacts")
            .arg(program.parent().expect("cargo puts the library beside this program")));
        std::fs::rename(first, &prefix).expect("a prefix may be moved");
        (folder, prefix)
    });
    prefix
}

/// What pkg-config says, one argument each.
fn pkg_config(arguments: &[&str], prefix: &Path) -> Vec<String> {
    let said = run(Command::new("pkg-config").args(arguments).env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")));
    // It escapes the blanks in paths for a shell.
    let said = said.trim().replace("\\ ", "\u{0}");
    said.split_whitespace().map(|word| word.replace('\u{0}', " ")).collect()
}

fn example(name: &str) -> PathBuf {
    Path::new(ROOT).join("examples").join(name).with_extension("c")
}

/// Compiles a program, linked as pkg-config says.
fn compile(source: &Path, program: &Path, flags: &[String]) {
    run(Command::new("cc").args(STRICT).arg(source).args(flags).arg("-lpthread").arg("-o").arg(program));
}

fn shared_flags() -> Vec<String> {
    pkg_config(&["--cflags", "--libs", "hybridrelay"], prefix())
}

/// An example, compiled and about to be run.
struct Example {
    _folder: TempDir,
    program: PathBuf,
}

impl Example {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join(name);
        compile(&example(name), &program, &shared_flags());
        Self { _folder: folder, program }
    }

    fn command(&self, relay: &LocalRelay) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("LD_LIBRARY_PATH", prefix().join("lib"))
            .env("HYBRIDRELAY_CONNECTION_STRING", relay.connection_string("hyco"));
        command
    }

    /// Starts it and waits until it is online.
    fn serve(&self, relay: &LocalRelay) -> Serving {
        let mut command = self.command(relay);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        assert_eq!(line, "online\n");
        Serving { child, said: Some(said) }
    }
}

struct Serving {
    child: Child,
    /// What it says after "online", if that is looked at.
    said: Option<BufReader<ChildStdout>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay that knows the hybrid connection before anybody listens.
fn relay() -> LocalRelay {
    let relay = block_on(LocalRelay::start(), None).expect("a runtime").expect("a free port");
    relay.store().put_entity(relay.namespace(), Entity::new("hyco".parse().expect("a name")));
    relay
}

/// Builds the quickstart, and lets it greet a sender.
fn greets(program: &Path, library: Option<&Path>) {
    let relay = relay();
    let mut command = Command::new(program);
    command.env("HYBRIDRELAY_CONNECTION_STRING", relay.connection_string("hyco")).env_remove("LD_LIBRARY_PATH");
    if let Some(library) = library {
        command.env("LD_LIBRARY_PATH", library);
    }
    let child = command.spawn().expect("it starts");
    let _ends = Serving { child, said: None };
    let greeted = block_on(
        async {
            let sender = hybridrelay_bindings_common::core::Sender::new(relay.connection_string("hyco"))?;
            sender.wait_for_listener(Duration::from_secs(60)).await?;
            sender.connect().await?.receive().await
        },
        Some(Duration::from_secs(60)),
    );
    let greeted = greeted.expect("in time").expect("it listens").expect("it greets");
    assert_eq!(greeted.as_text(), Some("hello"));
}

/// The blocks in C of the README; the first is a program.
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("a README");
    let blocks =
        readme.split("\n```c\n").skip(1).map(|rest| rest.split("\n```").next().unwrap_or(rest).to_owned() + "\n");
    blocks.collect()
}

fn quickstart(folder: &Path) -> PathBuf {
    let source = folder.join("quickstart.c");
    std::fs::write(&source, &blocks()[0]).expect("written");
    source
}

#[test]
fn a_program_finds_the_shared_library_by_pkg_config() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("quickstart");
    compile(&quickstart(folder.path()), &program, &shared_flags());
    let needed = run(Command::new("objdump").arg("-p").arg(&program));
    assert!(needed.contains("libhybridrelay.so.0\n"), "{needed}");
    assert_eq!(pkg_config(&["--modversion", "hybridrelay"], prefix()), [env!("CARGO_PKG_VERSION")]);
    greets(&program, Some(&prefix().join("lib")));
}

#[test]
fn a_program_finds_the_static_library_by_pkg_config_beside_the_shared_one_and_without_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = quickstart(folder.path());
    let alone = folder.path().join("alone");
    for folder in ["include", "lib/pkgconfig"] {
        std::fs::create_dir_all(alone.join(folder)).expect("a folder");
    }
    for file in ["include/hybridrelay.h", "lib/pkgconfig/hybridrelay.pc", "lib/libhybridrelay.a"] {
        std::fs::copy(prefix().join(file), alone.join(file)).expect("copied");
    }
    for flags in [
        pkg_config(&["--cflags", "--libs", "hybridrelay-static"], prefix()),
        pkg_config(&["--static", "--cflags", "--libs", "hybridrelay"], &alone),
    ] {
        let program = folder.path().join("quickstart");
        compile(&source, &program, &flags);
        let needed = run(Command::new("objdump").arg("-p").arg(&program));
        assert!(!needed.contains("hybridrelay"), "{needed}");
        greets(&program, None);
    }
}

#[test]
fn a_program_finds_both_libraries_by_cmake() {
    let folder = tempfile::tempdir().expect("a folder");
    quickstart(folder.path());
    let project = "cmake_minimum_required(VERSION 3.16)\n\
        project(quickstart C)\n\
        find_package(hybridrelay 0.1 REQUIRED)\n\
        find_package(hybridrelay 0.1 REQUIRED)\n\
        add_executable(shared quickstart.c)\n\
        target_link_libraries(shared PRIVATE hybridrelay::hybridrelay)\n\
        add_executable(static quickstart.c)\n\
        target_link_libraries(static PRIVATE hybridrelay::static)\n";
    std::fs::write(folder.path().join("CMakeLists.txt"), project).expect("written");
    let build = folder.path().join("build");
    let prefix_path = format!("-DCMAKE_PREFIX_PATH={}", prefix().display());
    run(Command::new("cmake").arg("-S").arg(folder.path()).arg("-B").arg(&build).arg(&prefix_path));
    run(Command::new("cmake").arg("--build").arg(&build));
    // CMake has written the library's place into the program.
    greets(&build.join("shared"), None);
    greets(&build.join("static"), None);

    let newer = project.replace("hybridrelay 0.1", "hybridrelay 0.2");
    std::fs::write(folder.path().join("CMakeLists.txt"), newer).expect("written");
    let output = Command::new("cmake").arg("-S").arg(folder.path()).arg("-B").arg(&build).arg(&prefix_path).output();
    assert!(!output.expect("cmake runs").status.success(), "0.1 is not 0.2");
}

#[test]
fn the_tests_in_c_pass_by_ctest() {
    let folder = tempfile::tempdir().expect("a folder");
    let prefix_path = format!("-DCMAKE_PREFIX_PATH={}", prefix().display());
    let source = Path::new(ROOT).join("tests");
    run(Command::new("cmake").arg("-S").arg(source).arg("-B").arg(folder.path()).arg(prefix_path));
    run(Command::new("cmake").arg("--build").arg(folder.path()));
    let said = run(Command::new("ctest")
        .arg("--test-dir")
        .arg(folder.path())
        .args(["--output-on-failure", "--no-tests=error"]));
    let tests = std::fs::read_dir(Path::new(ROOT).join("tests/c")).expect("the folder of tests");
    let tests =
        tests.filter(|file| file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|ext| ext == "c")));
    assert!(said.contains(&format!("out of {}", tests.count())), "none is left out: {said}");
}

#[test]
fn messages_come_back_from_the_echo_listener() {
    let relay = relay();
    let (listener, sender) = (Example::new("echo_listener"), Example::new("echo_sender"));
    let _serving = listener.serve(&relay);
    for _ in 0..2 {
        assert_eq!(run(sender.command(&relay).args(["hello", "", "world"])), "hello\n\nworld\n");
    }
}

#[test]
fn a_sender_without_a_listener_says_so() {
    let relay = relay();
    let output = Example::new("echo_sender").command(&relay).arg("hello").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.starts_with("HR_NO_LISTENERS: "), "{said}");
}

#[test]
#[allow(clippy::disallowed_methods)] // Another process begins its threads in real time.
fn one_thread_serves_many_connections_by_epoll() {
    const MANY: usize = 20;
    let relay = relay();
    let (listener, sender) = (Example::new("epoll_echo"), Example::new("echo_sender"));
    let mut serving = listener.serve(&relay);
    let task = format!("/proc/{}/task", serving.child.id());
    let others = || {
        let tasks = std::fs::read_dir(&task).expect("a process");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| !name.starts_with("hybridrelay")).count()
    };
    // A thread of the library has its name a moment after it has begun.
    let began = Instant::now();
    while others() != 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "all others are the library's");
        std::thread::yield_now();
    }
    let senders: Vec<_> = (0..MANY)
        .map(|number| sender.command(&relay).arg(number.to_string()).stdout(Stdio::piped()).spawn().expect("it starts"))
        .collect();
    for (number, sender) in senders.into_iter().enumerate() {
        let output = sender.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), output.stdout), (Some(0), format!("{number}\n").into_bytes()));
    }
    // Its standard input ends.
    drop(serving.child.stdin.take());
    let mut line = String::new();
    serving.said.as_mut().expect("it is looked at").read_line(&mut line).expect("a line");
    assert_eq!(line, format!("{MANY} connections were served\n"));
    assert!(serving.child.wait().expect("it ends").success());
}

#[test]
fn what_the_readme_shows_compiles() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = pkg_config(&["--cflags", "hybridrelay"], prefix());
    let blocks = blocks();
    assert!(blocks.len() >= 5, "the blocks are found");
    for (number, block) in blocks.iter().enumerate() {
        let source = folder.path().join(format!("block{number}.c"));
        std::fs::write(&source, block).expect("written");
        run(Command::new("cc")
            .args(STRICT)
            .args(&flags)
            .arg("-c")
            .arg(&source)
            .arg("-o")
            .arg(source.with_extension("o")));
    }
}
