//! The library as C programs meet it: each file of `tests/c` is compiled without a warning, linked to the library, and run.

use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where cargo has put the library: beside this program.
fn library_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a path");
    program.parent().expect("a folder").to_owned()
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

/// Compiles a program of `tests/c` and runs it, with the sanitizers of the C compiler.
fn passes(name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join(name);
    let library = library_folder();
    run(Command::new("cc")
        .args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address,undefined"])
        .args(["-fno-sanitize-recover=all", "-D_POSIX_C_SOURCE=200809L", "-DHR_TEST_HOOKS"])
        .arg("-I")
        .arg(Path::new(ROOT).join("include"))
        .arg(Path::new(ROOT).join("tests/c").join(name).with_extension("c"))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(&library)
        .arg("-lhybridrelay_c")
        .arg("-lpthread")
        .arg(format!("-Wl,-rpath,{}", library.display())));
    // The library's soname is that of its release; here it lies beside the tests under its own name.
    let named = folder.path().join("libhybridrelay.so.0");
    std::os::unix::fs::symlink(library.join("libhybridrelay_c.so"), named).expect("a link");
    run(Command::new(&program).env("LD_LIBRARY_PATH", folder.path()));
}

#[test]
fn streams_go_from_c_to_c() {
    passes("streams");
}

#[test]
fn operations_end_in_a_queue_whose_descriptor_an_event_loop_watches() {
    passes("queue");
}

#[test]
fn what_came_for_a_queue_that_is_released_goes_back() {
    passes("abandoned");
}

#[test]
fn what_waits_for_a_queue_ends_in_it_is_cancelled_or_goes_with_it() {
    passes("submitted");
}

#[test]
fn an_end_reaches_whoever_waits_and_new_objects_work_after_it() {
    passes("ended");
}

#[test]
fn calls_survive_signals_and_need_little_stack() {
    passes("interrupted");
}

#[test]
fn a_thread_that_is_cancelled_in_a_call_ends_behind_it() {
    passes("cancelled");
}

#[test]
fn requests_are_answered_from_c_to_c() {
    passes("http");
}

#[test]
fn long_bodies_stream_and_whoever_does_not_read_stops_the_writer() {
    passes("bodies");
}

#[test]
fn requests_need_no_thread_beside_an_event_loop() {
    passes("http_queue");
}

#[test]
fn connections_are_streams_of_bytes() {
    passes("bytes");
}

#[test]
fn a_token_is_replaced_by_the_next() {
    passes("token");
}

#[test]
fn calls_behind_main_are_calls_as_any_others() {
    passes("behind_main");
}

#[test]
fn writing_to_what_is_gone_raises_no_signal() {
    passes("sigpipe");
}

#[test]
fn what_comes_in_goes_to_a_server() {
    passes("forward");
}

#[test]
fn publishers_are_heard_by_every_listener() {
    passes("events");
}

#[test]
fn who_listens_and_what_there_is_to_find_is_told_as_it_changes() {
    passes("presence");
}

#[test]
fn a_test_does_to_its_relay_what_it_likes() {
    passes("instrument");
}

#[test]
fn a_handle_that_names_nothing_is_an_error_and_never_more() {
    passes("handles");
}

#[test]
fn misuse_is_an_error_and_never_more() {
    passes("misuse");
}

#[test]
fn a_child_makes_objects_of_its_own() {
    passes("forked");
}

#[test]
fn thirty_two_threads_use_everything_at_once() {
    passes("stress");
}

#[test]
fn many_threads_ask_and_answer_while_handles_are_released_under_them() {
    passes("http_stress");
}

#[test]
fn a_program_may_end_in_the_middle_of_everything() {
    passes("leaves");
}

#[test]
fn the_header_is_one_for_cpp_too() {
    let header = Path::new(ROOT).join("include/hybridrelay.h");
    run(Command::new("c++")
        .args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++"])
        .arg(header));
}

#[test]
fn nothing_but_the_interface_is_exported() {
    let symbols =
        run(Command::new("nm").args(["-D", "--defined-only"]).arg(library_folder().join("libhybridrelay_c.so")));
    let foreign: Vec<_> = symbols.lines().filter(|line| !line.contains(" hr_")).collect();
    assert!(symbols.contains("hr_listener_open") && foreign.is_empty(), "{foreign:?}");
}
