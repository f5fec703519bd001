//! Each idea: a listener in every language, and a sender of every language at each of them.

use hybridrelay_relay::LocalRelay;

use crate::language::{Example, Language};
use crate::run::{Running, output};

/// A conversation of two programs, which is the same in every language.
struct Conversation<'a> {
    idea: &'a str,
    /// What the listener is started with. It prints `online`.
    listen: &'a [&'a str],
    /// What the sender is started with.
    send: &'a [&'a str],
    /// What the sender reads.
    input: &'a str,
    /// What the sender prints.
    sent: &'a str,
    /// What the listener prints then.
    heard: Option<&'a str>,
    /// Languages without a listener.
    only_send: &'a [Language],
}

impl Default for Conversation<'_> {
    fn default() -> Self {
        Self { idea: "", listen: &["listen"], send: &[], input: "", sent: "", heard: None, only_send: &[] }
    }
}

impl Conversation<'_> {
    async fn holds(&self, connection_string: &str) {
        let mut programs = Vec::new();
        for language in Language::of(self.idea) {
            programs.push(Example::new(self.idea, language).await);
        }
        for listens in programs.iter().filter(|program| !self.only_send.contains(&program.language)) {
            let mut listener = Running::start(listens.command(connection_string).args(self.listen));
            listener.prints("online").await;
            for sends in &programs {
                let printed = output(sends.command(connection_string).args(self.send), self.input).await;
                assert_eq!(printed, self.sent, "{:?} listens, {:?} sends", listens.language, sends.language);
                if let Some(line) = self.heard {
                    listener.prints(line).await;
                }
            }
        }
    }
}

async fn relay() -> LocalRelay {
    LocalRelay::start().await.expect("a free port")
}

#[tokio::test]
async fn every_echo_answers_every_sender() {
    let echo = Conversation { idea: "echo", send: &["send", "grüße"], sent: "grüße\n", ..Conversation::default() };
    echo.holds(&relay().await.connection_string("hyco")).await;
}

#[tokio::test]
async fn every_sender_is_told_why_it_was_rejected() {
    let reject = Conversation {
        idea: "reject",
        send: &["connect"],
        sent: "rejected: 410 closed for today\n",
        heard: Some("rejected a sender with the path '/door'"),
        // The command has no option that rejects.
        only_send: &[Language::Shell],
        ..Conversation::default()
    };
    reject.holds(&relay().await.connection_string("hyco")).await;
}
