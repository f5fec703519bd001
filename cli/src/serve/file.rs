//! `serve --config`: a relay for others.

use std::error::Error as _;
use std::io;

use hybridrelay::Error;
use hybridrelay::env::Env;
use hybridrelay_relay::config_file::{ConfigFile, FileRelay, Problems, Reloaded};
use serde::Serialize;
use serde_json::json;

use super::{Form, announce, drain, raise_descriptor_limit};
use crate::config;
use crate::console::Console;
use crate::failure::Failure;
use crate::signals::{self, Signals};
use crate::supervisor::Supervisor;

/// The ready line: addresses, no secrets.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    listen: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
}

pub(super) async fn run(file: ConfigFile, form: Form, console: Console) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let mut hangups = signals::hangups()?;
    let env = Env::system();
    let supervisor = Supervisor::from_environment();
    raise_descriptor_limit();
    let mut relay = file.start(&env).await.map_err(unusable)?;
    let ready = Ready::of(&relay);
    announce(form, || ready.to_text(), || ready.to_json())?;
    let status = format!("listening on {}", ready.listen.join(" "));
    supervisor.ready(&status);
    let serving = async {
        loop {
            // All three are cancel-safe.
            let again = tokio::select! {
                biased;
                _ = signals.next() => return,
                Some(()) = hangups.recv() => Again::Configuration,
                () = relay.files_changed() => Again::Files,
            };
            supervisor.reloading();
            let outcome = match again {
                Again::Configuration => relay.reload().await,
                Again::Files => relay.reload_files().await,
            };
            tell(console, again, outcome);
            supervisor.ready(&status);
        }
    };
    tokio::select! {
        () = serving => {}
        () = supervisor.watch(&env) => {}
    }
    let (open, limit) = (relay.relay().connections(), relay.drain());
    let draining = drain(open, limit, relay.shutdown(), signals, console, &supervisor);
    tokio::select! {
        () = draining => {}
        () = supervisor.watch(&env) => {}
    }
    Ok(())
}

/// What was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// The configuration file, and everything that it names.
    Configuration,
    /// Only what it names.
    Files,
}

/// Tells what became of what was read again.
fn tell(console: Console, again: Again, outcome: Result<Reloaded, Problems>) {
    let (what, subject, verb) = match again {
        Again::Configuration => ("configuration", "the configuration file", "was"),
        Again::Files => ("files", "certificates and keys", "were"),
    };
    match outcome {
        Ok(Reloaded { warnings, needs_restart, .. }) => {
            warnings.iter().for_each(|warning| config::tell(console, warning));
            let restart = match &*needs_restart {
                [] => String::new(),
                keys => format!("; what changed in these needs a restart: {}", keys.join(", ")),
            };
            let text = format!("{subject} {verb} read again and applied{restart}");
            console.event("reloaded", json!({"what": what, "needsRestart": needs_restart}), &text);
        }
        Err(problems) => {
            problems.iter().for_each(|problem| config::tell(console, problem));
            let text = format!("{subject} {verb} read again and not applied: the relay goes on as before");
            console.event("reloadFailed", json!({"what": what, "problems": problems.iter().count()}), &text);
        }
    }
}

fn unusable(error: Error) -> Failure {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let advice = match source.map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => Some("ports below 1024 need the capability CAP_NET_BIND_SERVICE"),
        Some(io::ErrorKind::AddrInUse) => Some("choose another port, or end what listens there"),
        _ => None,
    };
    let failure = Failure::from(error);
    match advice {
        Some(advice) => failure.with_advice(advice),
        None => failure,
    }
}

impl Ready {
    fn of(relay: &FileRelay) -> Self {
        Self { ready: true, listen: relay.listen(), admin: relay.admin(), metrics: relay.metrics() }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and booleans always serialise")
    }

    fn to_text(&self) -> String {
        let listen = format!("listening  {}", self.listen.join("  "));
        let admin = self.admin.iter().map(|admin| format!("admin      {admin}"));
        let metrics = self.metrics.iter().map(|metrics| format!("metrics    {metrics}"));
        [listen].into_iter().chain(admin).chain(metrics).collect::<Vec<_>>().join("\n")
    }
}
