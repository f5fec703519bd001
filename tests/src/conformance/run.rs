//! One scenario, carried out by two programs, or by one.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::expectation::check;
use super::scenario::{Role, Scenario, Step};
use super::testee::{Pending, Testee};
use super::transcript::Transcript;
use super::vectors;
use super::world::{Credential, Site, World};

/// Commands that go somewhere, and so are told where.
const DIALLING: &[&str] = &["open", "connect", "request", "publish", "presence"];

/// The longest that a scenario may take.
const LIMIT: Duration = Duration::from_secs(150);

/// A scenario that is being carried out.
pub(super) struct Run<'a> {
    pub(super) world: &'a World,
    pub(super) scenario: &'a Scenario,
    /// Its own among all runs: the hybrid connection's name, and what its objects' names begin with.
    pub(super) id: String,
    pub(super) roles: BTreeMap<Role, Arc<Testee>>,
    pub(super) site: Arc<Site>,
    pub(super) transcript: Transcript,
    started: Mutex<BTreeMap<String, Started>>,
    memory: Mutex<BTreeMap<Role, u64>>,
    renewed: Mutex<Option<tokio::task::JoinHandle<()>>>,
    tunnels: usize,
}

struct Started {
    role: Role,
    pending: Pending,
}

/// Values of `{name}`.
type Variables = BTreeMap<String, Value>;

impl<'a> Run<'a> {
    pub(super) async fn new(
        world: &'a World,
        scenario: &'a Scenario,
        id: String,
        roles: BTreeMap<Role, Arc<Testee>>,
        transcript: Transcript,
    ) -> Result<Self> {
        let site = world.site(scenario.relay).await?;
        if scenario.relay.events {
            site.put_for_events(&id).await?;
        }
        let tunnels = world.proxy().tunnels();
        let (started, memory, renewed) = Default::default();
        Ok(Self { world, scenario, id, roles, site, transcript, started, memory, renewed, tunnels })
    }

    /// Carries it out, and lets go of everything.
    ///
    /// # Errors
    ///
    /// If something is not as expected.
    pub(super) async fn carry_out(self) -> Result<()> {
        let steps = self.sequence(&self.scenario.steps, Variables::new());
        let done = tokio::time::timeout(LIMIT, steps).await.unwrap_or_else(|_| bail!("it takes too long"));
        let done = done.and_then(|()| match self.started().keys().next() {
            None => Ok(()),
            Some(name) => Err(anyhow!("the scenario does not wait for what it has started as {name}")),
        });
        let mut released = Ok(());
        for (role, testee) in &self.roles {
            let command = json!({"op": "release", "prefix": self.prefix()});
            let answer = testee.ask(&role.to_string(), command, &self.transcript).await;
            released = released.and(answer.map(drop));
        }
        done.and(released)
    }

    fn prefix(&self) -> String {
        format!("{}/", self.id)
    }

    fn testee(&self, role: Role) -> Result<&Arc<Testee>> {
        self.roles.get(&role).with_context(|| format!("the scenario says nothing of what the {role} needs"))
    }

    fn sequence<'b>(
        &'b self,
        steps: &'b [Step],
        variables: Variables,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'b>> {
        Box::pin(async move {
            for (number, step) in steps.iter().enumerate() {
                let done = self.step(step, &variables).await;
                done.with_context(|| format!("step {}", number + 1))?;
            }
            Ok(())
        })
    }

    async fn step(&self, step: &Step, variables: &Variables) -> Result<()> {
        let command = step.listener.as_ref().map(|command| (Role::Listener, command));
        if let Some((role, command)) = command.or(step.sender.as_ref().map(|command| (Role::Sender, command))) {
            return self.command(step, role, command, variables).await;
        }
        if let Some(name) = &step.awaited {
            return self.awaited(&named(name, variables), step, variables).await;
        }
        if let Some(name) = &step.pending {
            return self.pending(&named(name, variables)).await;
        }
        if let Some(name) = &step.cancel {
            return self.cancel(&named(name, variables), step, variables).await;
        }
        if let Some(branches) = &step.together {
            let branches = branches.iter().map(|steps| self.sequence(steps, variables.clone()));
            return futures_util::future::try_join_all(branches).await.map(drop);
        }
        if step.repeat.is_some() || step.each.is_some() {
            return self.repeat(step, variables).await;
        }
        if let Some(what) = &step.relay {
            return self.relay(what).await;
        }
        if let Some(what) = &step.memory {
            return self.memory(what).await;
        }
        if let Some(file) = &step.vectors {
            let testee = self.testee(Role::Sender)?;
            return vectors::put(file, testee, &Role::Sender.to_string(), &self.transcript).await;
        }
        bail!("a step that says nothing")
    }

    async fn command(&self, step: &Step, role: Role, command: &Value, variables: &Variables) -> Result<()> {
        let command = self.complete(role, command, variables)?;
        let (testee, who) = (self.testee(role)?, role.to_string());
        let pending = testee.begin(&who, command.clone(), &self.transcript).await?;
        if let Some(name) = &step.start {
            self.started().insert(named(name, variables), Started { role, pending });
            return Ok(());
        }
        let answer = self.answer(testee, pending).await?;
        let expected = step.expect.as_ref().map(|expected| filled_in(expected, variables));
        check(&answer, expected.as_ref(), testee).with_context(|| format!("{role}: {}", command["op"]))
    }

    async fn awaited(&self, name: &str, step: &Step, variables: &Variables) -> Result<()> {
        let Started { role, pending } =
            self.started().remove(name).with_context(|| format!("nothing was started as {name}"))?;
        let testee = self.testee(role)?;
        let answer = self.answer(testee, pending).await?;
        let expected = step.expect.as_ref().map(|expected| filled_in(expected, variables));
        check(&answer, expected.as_ref(), testee).with_context(|| format!("{role}: {name}"))
    }

    /// Waits for an answer, which must not hold a secret, whatever it tells.
    async fn answer(&self, testee: &Testee, pending: Pending) -> Result<Value> {
        let answer = testee.answer(pending).await?;
        if self.site.shows_a_secret(&answer.to_string()) {
            bail!("an answer holds a key or a signature: {answer}");
        }
        Ok(answer)
    }

    async fn pending(&self, name: &str) -> Result<()> {
        let role = self.started().get(name).map(|started| started.role);
        let role = role.with_context(|| format!("nothing was started as {name}"))?;
        // Behind the answer to another command, it has begun.
        self.testee(role)?.ask(&role.to_string(), json!({"op": "counters"}), &self.transcript).await?;
        match self.started().get(name).is_some_and(|started| started.pending.is_pending()) {
            true => Ok(()),
            false => Err(anyhow!("{name} should still be waiting")),
        }
    }

    async fn cancel(&self, name: &str, step: &Step, variables: &Variables) -> Result<()> {
        let started = self.started().remove(name).with_context(|| format!("nothing was started as {name}"))?;
        let (testee, who) = (self.testee(started.role)?, started.role.to_string());
        let command = json!({"op": "cancel", "command": started.pending.id});
        check(&testee.ask(&who, command, &self.transcript).await?, None, testee)?;
        let answer = self.answer(testee, started.pending).await?;
        let cancelled = json!({"error": {"kind": "Cancelled"}});
        let expected = step.expect.as_ref().map_or(cancelled, |expected| filled_in(expected, variables));
        check(&answer, Some(&expected), testee).with_context(|| format!("{}: {name}", started.role))
    }

    async fn repeat(&self, step: &Step, variables: &Variables) -> Result<()> {
        let counted = || (0..step.repeat.unwrap_or_default()).map(|number| json!(number)).collect();
        let values: Vec<Value> = step.each.clone().unwrap_or_else(counted);
        let name = step.variable.as_deref().unwrap_or("i");
        let rounds = values.into_iter().map(|value| {
            let mut variables = variables.clone();
            let round = format!("{name} = {value}");
            variables.insert(name.to_owned(), value);
            async move { self.sequence(&step.steps, variables).await.context(round) }
        });
        stream::iter(rounds).buffer_unordered(step.parallel.unwrap_or(1)).try_collect().await
    }

    async fn relay(&self, what: &str) -> Result<()> {
        self.transcript.note(format!("the relay: {what}"));
        match what {
            "stop" => self.site.stop().await,
            "start" => self.site.start_again().await?,
            "drop control" => self.site.drop_control(&self.id).await?,
            "until somebody listens" => self.site.until_listeners(&self.id, true).await?,
            "until nobody listens" => self.site.until_listeners(&self.id, false).await?,
            "watch for a renewed token" => {
                let renewed = tokio::spawn(self.site.token_renewed().await?);
                *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewed);
            }
            "until a token was renewed" => {
                let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner).take();
                renewed.context("nobody watches for it")?.await?;
            }
            "cut the tunnels" => self.site.losing(&self.id, || self.world.proxy().cut()).await?,
            "was reached by 3 tunnels" => {
                let tunnels = self.world.proxy().tunnels() - self.tunnels;
                if tunnels != 3 {
                    bail!("there were {tunnels} tunnels");
                }
            }
            other => bail!("the relay cannot {other:?}"),
        }
        Ok(())
    }

    /// `"note"`, or the most by which each program may have grown since, in MiB.
    async fn memory(&self, what: &Value) -> Result<()> {
        for (role, testee) in &self.roles {
            let answer = testee.ask(&role.to_string(), json!({"op": "counters"}), &self.transcript).await?;
            let now = answer["ok"]["rssKib"].as_u64().context("rssKib is no number")?;
            let mut noted = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(most) = what.as_u64() else {
                noted.insert(*role, now);
                continue;
            };
            let grown = now.saturating_sub(*noted.get(role).context("nothing was noted")?) / 1024;
            if grown > most {
                bail!("the {role} has grown by {grown} MiB, and {most} are allowed");
            }
        }
        Ok(())
    }

    /// A command with names of its own, and with the place where it goes.
    fn complete(&self, role: Role, command: &Value, variables: &Variables) -> Result<Value> {
        let mut command = filled_in(command, variables);
        let op = command["op"].as_str().context("a command without op")?.to_owned();
        let fields = command.as_object_mut().context("a command is an object")?;
        for name in ["as", "on"] {
            if let Some(value) = fields.get(name).and_then(Value::as_str) {
                let value = format!("{}{role}/{value}", self.prefix());
                fields.insert(name.to_owned(), json!(value));
            }
        }
        let credential = match fields.remove("credential").as_ref().and_then(Value::as_str) {
            None | Some("key") => Credential::Key,
            Some("token") => Credential::Token,
            Some("expired") => Credential::Expired,
            Some("forged") => Credential::Forged,
            Some("none") => Credential::None,
            Some(other) => bail!("there is no credential {other:?}"),
        };
        let entity = fields.remove("entity");
        let entity = match entity.as_ref().and_then(Value::as_str) {
            None => self.id.clone(),
            Some(other) => match other.strip_prefix('+') {
                Some(beside) => format!("{}-{beside}", self.id),
                None => other.to_owned(),
            },
        };
        if op == "token" {
            fields.insert("token".to_owned(), json!(self.site.token(&entity, credential)));
        }
        let proxy = fields.remove("proxy");
        let trusts = fields.remove("trust") != Some(json!(false));
        if DIALLING.contains(&op.as_str()) {
            let mut target = self.site.target(&entity, credential);
            if !trusts {
                target["caPem"] = Value::Null;
            }
            match proxy {
                Some(Value::Bool(true)) => target["proxy"] = json!(self.world.proxy().url()),
                Some(url) => target["proxy"] = url,
                None => {}
            }
            fields.insert("target".to_owned(), target);
        }
        Ok(command)
    }

    fn started(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Started>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(name: &str, variables: &Variables) -> String {
    match filled_in(&json!(name), variables) {
        Value::String(name) => name,
        other => other.to_string(),
    }
}

/// Puts values in: for a text that is nothing but `{name}` the value as it is, else its text.
fn filled_in(template: &Value, variables: &Variables) -> Value {
    match template {
        Value::String(text) => {
            let whole = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            if let Some(value) = whole.and_then(|name| variables.get(name)) {
                return value.clone();
            }
            let mut text = text.clone();
            for (name, value) in variables {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                text = text.replace(&format!("{{{name}}}"), &value);
            }
            Value::String(text)
        }
        Value::Array(items) => items.iter().map(|item| filled_in(item, variables)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), filled_in(value, variables))).collect()
        }
        other => other.clone(),
    }
}
