//! `demo`: the first command that a newcomer runs.

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::harness::{Process, command, run};

#[tokio::test]
async fn it_tells_a_story_and_proves_the_transfer() {
    let home = tempfile::tempdir().unwrap();
    let output = run(command(home.path()).args(["demo", "--size", "3000001"]), "").await;
    let text = output.text().to_owned();
    for line in [
        "  sender    says   Is anybody there?\n",
        "  listener  hears  Is anybody there?\n",
        "  listener  says   I am, and nobody had to open a port.\n",
        "  sender    hears  I am, and nobody had to open a port.\n",
        "  sender    hears  Then goodbye.\n",
        "  sender    sees the listener's end: the connection is closed in good order\n",
        "  sender    asks again, by HTTP: GET /demo/report?year=2026\n",
        "  listener  sees GET /report?year=2026; streams 16.00 MiB of random bytes\n",
        "  sender    sees 200 OK, and reads the body as it comes\n",
        "  100 %\n",
        " MiB/s through the relay, encrypted on both sides of it\n",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
    let answers: Vec<_> = text.lines().filter_map(|line| line.split_once(" 16777216 bytes   SHA-256 ")).collect();
    assert_eq!((answers.len(), answers[0].1), (2, answers[1].1), "{text}");
    let digest = |who: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(who) && line.contains("SHA-256")).unwrap();
        assert!(line.contains(" 3000001 bytes "), "{line}");
        line.rsplit_once(' ').unwrap().1.to_owned()
    };
    let (sent, received) = (digest("sent"), digest("received"));
    assert_eq!(sent, received);
    assert_eq!(sent.len(), 64);
    assert_eq!(output.stderr, "");
    output.ok();
}

#[tokio::test]
async fn nothing_at_all_can_be_sent() {
    let home = tempfile::tempdir().unwrap();
    let output = run(command(home.path()).args(["demo", "--size", "0"]), "").await;
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(output.text().matches(empty).count(), 2);
    output.ok();
}

#[tokio::test]
async fn it_stays_if_asked_and_what_it_prints_works_when_pasted() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = Process::start(command(home.path()).args(["demo", "--size", "1", "--keep"]));
    let mut script = String::new();
    loop {
        let line = demo.line().await;
        assert!(!line.is_empty(), "the demonstration ended early");
        if line.starts_with("export ") {
            script.push_str(&line);
        } else if line.ends_with(" connect\n") {
            script.push_str(&line);
            break;
        }
    }
    let mut shell = Command::new("sh");
    shell.env_clear().env("HOME", "/nowhere").kill_on_drop(true).arg("-c").arg(script);
    assert_eq!(run(&mut shell, "pasted").await.ok(), b"pasted");
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.exit().await.code(), Some(0));
}
