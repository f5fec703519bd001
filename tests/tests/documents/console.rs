//! Blocks of commands: every line behind `$ ` or `# ` runs, in order, with a fresh folder and home for each document.
//!
//! Each block begins in that folder; whatever else a command changes stays for the next. A command that ends in `\` goes on in the next
//! line. What is shown below a command is what it prints, except for what is left open (see `open`); where nothing is shown, only its
//! success counts. Servers run beside the others until the document's end.

use std::collections::BTreeMap;

use crate::fences::{self, Block};
use crate::instead::{INSTEAD, SERVERS};
use crate::open;
use crate::room::Room;

/// A command and what is shown below it.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let command = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "));
        match (command, steps.last_mut()) {
            (_, Some(step)) if goes_on => step.command += &format!("\n{line}"),
            (Some(command), _) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
            (None, Some(step)) => step.shown.push(line.to_owned()),
            (None, None) => panic!("a block begins with a command, not with {line:?}"),
        }
        goes_on = line.ends_with('\\');
    }
    steps
}

async fn run(room: &mut Room, block: &Block) {
    room.begin().await;
    for Step { command, shown } in steps(&block.text) {
        let place = format!("{} `{command}`", block.place());
        let actual = INSTEAD.iter().fold(command.clone(), |command, row| command.replace(row.written, row.run));
        if SERVERS.iter().any(|server| actual.starts_with(server)) {
            room.serve(place, &actual, shown).await;
            continue;
        }
        let (status, printed) = room.run(&actual).await;
        assert_eq!(status, 0, "{place} printed {printed:#?}");
        assert!(
            shown.is_empty() || open::matches(&shown, &printed),
            "{place} shows {shown:#?}, it printed {printed:#?}"
        );
    }
}

#[tokio::test]
async fn commands_do_what_the_documents_show() {
    let mut documents: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    for block in fences::of("console") {
        documents.entry(block.document.clone()).or_default().push(block);
    }
    assert!(documents.len() > 3, "{:?}", documents.keys());
    for blocks in documents.values() {
        let mut room = Room::new().await;
        for block in blocks {
            run(&mut room, block).await;
        }
        room.end().await;
    }
}

#[test]
fn every_exception_is_needed_by_a_document() {
    let all: String = fences::of("console").iter().map(|block| block.text.as_str()).collect();
    for written in INSTEAD.iter().map(|row| row.written).chain(SERVERS.iter().copied()) {
        assert!(all.contains(written), "no document says {written:?} any more: take it out of instead.rs");
    }
}

#[test]
fn commands_and_what_is_shown_are_told_apart() {
    let text = "$ a b  # why\nx\n  y\n# c \\\n    d\n$ e\n";
    let step = |command: &str, shown: &[&str]| Step {
        command: command.to_owned(),
        shown: shown.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(steps(text), [step("a b  # why", &["x", "  y"]), step("c \\\n    d", &[]), step("e", &[])]);
}
