//! Completions and manual pages.

use std::fs;

use tokio::process::Command;

use crate::harness::{command, run};

#[tokio::test]
async fn every_shell_gets_completions_of_every_command() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(command(home.path()).args(["completions", shell]), "").await;
        for word in ["serve", "listen", "connect", "token", "--connection-string-file"] {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(output.text().contains(word), "{shell} does not know {word}");
        }
    }
}

#[tokio::test]
async fn the_completions_for_bash_are_a_script_and_complete() {
    let home = tempfile::tempdir().unwrap();
    let script = run(command(home.path()).args(["completions", "bash"]), "").await.ok();
    let complete = "COMP_WORDS=(hybridrelay ser); COMP_CWORD=1; _hybridrelay hybridrelay ser hybridrelay; echo \"${COMPREPLY[@]}\"";
    let asked = [&script[..], b"\n", complete.as_bytes(), b"\n"].concat();
    let mut bash = Command::new("bash");
    let output = run(bash.args(["--norc", "--noprofile", "-s"]).kill_on_drop(true), asked).await;
    assert_eq!((output.stderr.as_str(), output.stdout.as_slice()), ("", &b"serve\n"[..]));
}

#[tokio::test]
async fn there_is_a_manual_page_for_every_command_and_groff_finds_no_fault() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("man1");
    run(command(home.path()).arg("man").arg(&dir), "").await.ok();
    let mut pages: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    pages.sort();
    let help = run(command(home.path()).arg("--help"), "").await;
    let commands = help.text().lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    for name in commands.filter(|name| *name != "help") {
        assert!(pages.iter().any(|page| **page == *format!("hybridrelay-{name}.1")), "{name} has none: {pages:?}");
    }
    assert!(pages.iter().any(|page| page == "hybridrelay.1"), "{pages:?}");

    for page in &pages {
        let mut groff = Command::new("groff");
        let groff =
            groff.args(["-k", "-Kutf8", "-ww", "-man", "-Tutf8", "-P-cbou"]).arg(dir.join(page)).kill_on_drop(true);
        let rendered = run(groff, "").await;
        assert_eq!((rendered.code, rendered.stderr.as_str()), (Some(0), ""), "{page:?}");
        assert!(rendered.text().contains("SYNOPSIS"), "{page:?}");
    }
    let one = run(command(home.path()).arg("man"), "").await;
    assert_eq!(one.stdout, fs::read(dir.join("hybridrelay.1")).unwrap());
}
