//! A program of a language, at a relay of its own.

use std::sync::Arc;

use hybridrelay::Sender;
use hybridrelay_tests::conformance::{
    Builds, Credential, MEMBERS, Member, Pending, Site, Testee, Transcript, Wanted, World,
};
use serde_json::{Value, json};

/// The hybrid connection that programs meet on.
pub(crate) const ENTITY: &str = "hyco";

pub(crate) struct Life {
    pub(crate) member: Member,
    pub(crate) site: Arc<Site>,
    testee: Testee,
    transcript: Transcript,
    /// Hold what the program needs.
    _world: World,
    _builds: Builds,
}

/// Does something with the program of each member that has the capabilities, one after the other.
pub(crate) async fn each<F: Future<Output = ()>>(capabilities: &[&str], act: impl Fn(Life) -> F) {
    each_at(Wanted::default(), capabilities, act).await;
}

/// The same at another relay than one with TLS.
pub(crate) async fn each_at<F: Future<Output = ()>>(wanted: Wanted, capabilities: &[&str], act: impl Fn(Life) -> F) {
    for member in MEMBERS {
        let life = Life::begin(*member, wanted).await;
        match capabilities.iter().find(|capability| life.lacks(capability)) {
            None => act(life).await,
            Some(capability) => println!("{} has no {capability}", member.name),
        }
    }
}

impl Life {
    async fn begin(member: Member, wanted: Wanted) -> Self {
        let world = World::start().await.expect("a relay");
        let site = world.site(wanted).await.expect("the relay");
        let builds = Builds::new(env!("CARGO_BIN_EXE_testee")).expect("a folder");
        let mut command = builds.command(&member).await.unwrap_or_else(|error| panic!("{}: {error:#}", member.name));
        command.env("NODE_EXTRA_CA_CERTS", world.ca_file().expect("a file"));
        let testee = Testee::start(member.name, command).await.unwrap_or_else(|error| panic!("{error:#}"));
        let transcript = Transcript::default();
        Self { member, site, testee, transcript, _world: world, _builds: builds }
    }

    pub(crate) fn lacks(&self, capability: &str) -> bool {
        self.testee.lacks(capability).is_some()
    }

    /// Gives a command, with the place where it goes.
    pub(crate) async fn begin_to(&self, command: Value) -> Pending {
        let command = self.complete(command);
        let begun = self.testee.begin(self.member.name, command, &self.transcript).await;
        begun.unwrap_or_else(|error| self.fail(&format!("{error:#}")))
    }

    /// Gives a command, which must go well.
    pub(crate) async fn ask(&self, command: Value) -> Value {
        let op = command["op"].to_string();
        let pending = self.begin_to(command).await;
        let answer = self.testee.answer(pending).await.unwrap_or_else(|error| self.fail(&format!("{error:#}")));
        answer.get("ok").cloned().unwrap_or_else(|| self.fail(&format!("{op} has failed: {answer}")))
    }

    /// The two ends of a connection, under names that begin so.
    pub(crate) async fn connect(&self, name: &str) {
        tokio::join!(
            self.ask(json!({"op": "accept", "on": "listener", "as": format!("{name}-accepted")})),
            self.ask(json!({"op": "connect", "as": format!("{name}-connection")})),
        );
    }

    /// A sender that is not the program's.
    pub(crate) fn peer(&self) -> Sender {
        let target = self.site.target(ENTITY, Credential::Key);
        let builder = Sender::builder(target["connectionString"].as_str().expect("a text"));
        builder.extra_ca_pem(target["caPem"].as_str().expect("TLS")).build().expect("a usable target")
    }

    pub(crate) fn testee(&self) -> &Testee {
        &self.testee
    }

    /// Fails with all that was said.
    pub(crate) fn fail(&self, why: &str) -> ! {
        panic!("{}: {why}{}\n{}", self.member.name, self.testee.said(), self.transcript.text())
    }

    fn complete(&self, mut command: Value) -> Value {
        let entity = command["entity"].as_str().unwrap_or(ENTITY).to_owned();
        command["target"] = self.site.target(&entity, Credential::Key);
        command
    }
}
