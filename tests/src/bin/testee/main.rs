//! The Rust member of the conformance tests: does what lines of JSON say, with the SDK. See `tests/conformance/README.md`.

// Real processes, sockets and time are the point here.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::AbortHandle;

mod breakage;
mod command;
mod events;
mod failure;
mod objects;
mod process;
mod requests;
mod stream;
mod streams;

use command::{Command, tell};
use failure::Failure;
use objects::Objects;

/// What an operation comes to: what is answered, or why it failed.
pub(crate) type Outcome = Result<Value, Failure>;

/// Everything that operations share.
#[derive(Default)]
pub(crate) struct Testee {
    pub(crate) objects: Objects,
    under_way: Mutex<BTreeMap<u64, AbortHandle>>,
}

#[tokio::main]
async fn main() -> Result<()> {
    tell(&json!({"hello": {"protocol": 1, "language": "rust", "lacks": {
        "fork": "programs in Rust bring their own runtime, and none survives a fork",
        "fragments": "the SDK decides where a message is cut",
        "live-handles": "objects are values here, and go when they are dropped",
    }}}));
    let testee = Arc::new(Testee::default());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Command = serde_json::from_str(&line).with_context(|| format!("not a command: {line}"))?;
        match command.op.as_str() {
            // Nothing is closed, and what others wait for is not awaited.
            "exit" => std::process::exit(command.code.unwrap_or(0).into()),
            "cancel" => testee.cancel(&command),
            _ => testee.clone().begin(command),
        }
    }
    Ok(())
}

impl Testee {
    fn begin(self: Arc<Self>, command: Command) {
        let id = command.id;
        let testee = self.clone();
        // Held while the task is entered, so that an operation that is over at once finds itself.
        let mut under_way = lock(&self.under_way);
        let task = tokio::spawn(async move {
            let outcome = testee.perform(&command).await;
            if lock(&testee.under_way).remove(&id).is_some() {
                answer(id, outcome);
            }
        });
        under_way.insert(id, task.abort_handle());
    }

    /// Ends an operation, which answers that it was cancelled; one that has answered is left alone.
    fn cancel(&self, command: &Command) {
        if let Some(task) = lock(&self.under_way).remove(&command.command) {
            task.abort();
            answer(command.command, Err(Failure::Cancelled));
        }
        answer(command.id, Ok(json!({})));
    }

    async fn perform(&self, command: &Command) -> Outcome {
        match command.op.as_str() {
            "open" => streams::open(self, command).await,
            "accept" => streams::accept(self, command).await,
            "reject" => streams::reject(self, command).await,
            "connect" => streams::connect(self, command).await,
            "send" => streams::send(self, command).await,
            "receive" => streams::receive(self, command).await,
            "echo" => streams::echo(self, command).await,
            "shutdown" => streams::shutdown(self, command).await,
            "close" => streams::close(self, command).await,
            "abort" => streams::abort(self, command).await,
            "status" => streams::status(self, command).await,
            "token" => streams::token(self, command),
            "bytes" => stream::bytes(self, command),
            "request" => requests::request(self, command).await,
            "respond" => requests::respond(self, command).await,
            "publish" => events::publish(self, command).await,
            "events" => events::events(self, command),
            "presence" => events::presence(command).await,
            "release" => self.objects.release(command),
            "counters" => process::counters(self),
            "vector" => process::vector(command),
            other => Err(Failure::Fault(anyhow::anyhow!("there is no operation {other:?}"))),
        }
    }
}

fn answer(id: u64, outcome: Outcome) {
    tell(&match outcome {
        Ok(ok) => json!({"id": id, "ok": ok}),
        Err(Failure::Fault(fault)) => json!({"id": id, "fault": format!("{fault:#}")}),
        Err(failure) => json!({"id": id, "error": failure.described()}),
    });
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For what an object cannot do.
pub(crate) fn unable(op: &str, what: &str) -> Outcome {
    let refuse = || -> Result<Value> { bail!("{what} has no {op}") };
    refuse().map_err(Failure::Fault)
}
