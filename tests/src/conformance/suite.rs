//! Everything: each scenario for each language.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::sync::Mutex;

use super::members::{Builds, MEMBERS, Member};
use super::report::{Outcome, Report};
use super::run::Run;
use super::scenario::{Pairs, Role, Scenario};
use super::testee::Testee;
use super::transcript::Transcript;
use super::world::World;

/// How many runs at a time: most of each is waiting for one another.
const AT_ONCE: usize = 4;

/// What is to be run; empty lists choose everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Parts of scenarios' names.
    pub scenarios: Vec<String>,
    /// Languages.
    pub languages: Vec<String>,
}

/// Programs and relays, ready.
pub struct Suite {
    world: World,
    builds: Builds,
    members: Vec<Member>,
    programs: Mutex<BTreeMap<&'static str, Arc<Testee>>>,
}

/// A scenario with those who carry it out.
struct Cast<'a> {
    scenario: &'a Scenario,
    members: BTreeMap<Role, Member>,
}

/// The row of what programs hold when all is over.
const NOTHING_LEFT: &str = "(nothing is left)";

/// Whether a program has let go of all that scenarios have made.
async fn nothing_left(program: &Testee) -> Outcome {
    let transcript = Transcript::default();
    let asked = program.ask("it", json!({"op": "counters"}), &transcript).await;
    let held = asked.map(|answer| answer["ok"].clone());
    let counted = match program.lacks("live-handles") {
        Some(_) => vec!["objects"],
        None => vec!["objects", "liveHandles"],
    };
    match held {
        Ok(held) if counted.iter().all(|name| held[*name] == json!(0)) => Outcome::Passed,
        Ok(_) => Outcome::Failed(format!("something is left\n{}", transcript.text())),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

impl Cast<'_> {
    fn has(&self, member: &Member) -> bool {
        self.members.values().any(|other| other.name == member.name)
    }
}

impl Suite {
    /// With the members of the table.
    ///
    /// # Errors
    ///
    /// If no relay can be started.
    pub async fn new(builds: Builds) -> Result<Self> {
        Self::with_members(builds, MEMBERS.to_vec()).await
    }

    /// With members of one's own; the first is the one that the others meet.
    ///
    /// # Errors
    ///
    /// If no relay can be started.
    pub async fn with_members(builds: Builds, members: Vec<Member>) -> Result<Self> {
        Ok(Self { world: World::start().await?, builds, members, programs: Mutex::default() })
    }

    /// Runs what is selected and tells what came of it.
    ///
    /// # Errors
    ///
    /// If a scenario cannot be read. What fails in one is told in the report.
    pub async fn run(&self, selection: &Selection) -> Result<Report> {
        let scenarios = Scenario::all()?;
        let is_chosen =
            |name: &str, among: &[String]| among.is_empty() || among.iter().any(|part| name.contains(part.as_str()));
        let chosen = scenarios.iter().filter(|scenario| is_chosen(&scenario.name, &selection.scenarios));
        let casts: Vec<_> = chosen
            .flat_map(|scenario| self.casts(scenario))
            .filter(|cast| {
                let named = |member: &Member| selection.languages.iter().any(|language| language == member.name);
                selection.languages.is_empty() || cast.members.values().any(named)
            })
            .enumerate()
            .collect();
        // What cannot be started is told once, and not for each scenario.
        for member in self.members.iter().filter(|member| casts.iter().any(|(_, cast)| cast.has(member))) {
            self.program(member).await?;
        }
        let mut outcomes = BTreeMap::new();
        for alone in [false, true] {
            let runs = casts.iter().filter(|(_, cast)| cast.scenario.alone == alone);
            let runs = runs.map(|(number, cast)| async move { (*number, self.outcome(*number, cast).await) });
            let at_once = if alone { 1 } else { AT_ONCE };
            outcomes.extend(stream::iter(runs).buffer_unordered(at_once).collect::<Vec<_>>().await);
        }
        let mut report = Report::default();
        for (number, cast) in &casts {
            let members = cast.members.iter().map(|(role, member)| (*role, member.name)).collect();
            let outcome = outcomes.remove(number).context("every run has an outcome")?;
            report.add(&cast.scenario.name, members, outcome);
        }
        for (name, program) in self.programs.lock().await.iter() {
            report.add(NOTHING_LEFT, BTreeMap::from([(Role::Listener, *name)]), nothing_left(program).await);
        }
        Ok(report)
    }

    /// Who carries a scenario out.
    fn casts<'a>(&self, scenario: &'a Scenario) -> Vec<Cast<'a>> {
        let cast = |members: &[(Role, Member)]| Cast { scenario, members: members.iter().copied().collect() };
        let roles: Vec<Role> = scenario.needs.keys().copied().collect();
        let [listener, sender] = roles[..] else {
            return self.members.iter().map(|member| cast(&[(roles[0], *member)])).collect();
        };
        let mut casts = Vec::new();
        for (number, one) in self.members.iter().enumerate() {
            for (other_number, other) in self.members.iter().enumerate() {
                // The first member meets everybody, itself included.
                if scenario.pairs == Pairs::All || number == 0 || other_number == 0 {
                    casts.push(cast(&[(listener, *one), (sender, *other)]));
                }
            }
        }
        casts
    }

    async fn outcome(&self, number: usize, cast: &Cast<'_>) -> Outcome {
        let transcript = Transcript::default();
        match self.attempt(number, cast, &transcript).await {
            Ok(None) => Outcome::Passed,
            Ok(Some(why)) => Outcome::Skipped(why),
            Err(error) => Outcome::Failed(format!("{error:#}\n{}", transcript.text())),
        }
    }

    /// `Some` if it is skipped: why.
    async fn attempt(&self, number: usize, cast: &Cast<'_>, transcript: &Transcript) -> Result<Option<String>> {
        let Cast { scenario, members } = cast;
        let mut roles = BTreeMap::new();
        for (role, member) in members {
            let quirk = member.quirks.iter().find(|quirk| quirk.scenario == scenario.name && quirk.role == *role);
            if let Some(quirk) = quirk {
                return Ok(Some(format!("{} as {role}: {}", member.name, quirk.reason)));
            }
            let testee = self.program(member).await?;
            for capability in &scenario.needs[role] {
                if let Some(reason) = testee.lacks(capability) {
                    return Ok(Some(format!("{} has no {capability}: {reason}", member.name)));
                }
            }
            roles.insert(*role, testee);
        }
        let id = format!("run-{number}");
        let run = Run::new(&self.world, scenario, id, roles, transcript.clone()).await?;
        run.carry_out().await.map(|()| None)
    }

    /// The program of a member, which all runs share. One that has ended is started again.
    async fn program(&self, member: &Member) -> Result<Arc<Testee>> {
        let mut programs = self.programs.lock().await;
        if let Some(running) = programs.get(member.name).filter(|running| !running.has_ended()) {
            return Ok(running.clone());
        }
        let mut command = self.builds.command(member).await?;
        command.env("NODE_EXTRA_CA_CERTS", self.world.ca_file()?);
        let started = Arc::new(Testee::start(member.name, command).await?);
        programs.insert(member.name, started.clone());
        Ok(started)
    }
}
