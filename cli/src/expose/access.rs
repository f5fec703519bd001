//! How senders get there: the address, and whether they need a token.

use std::time::Duration;

use http::Request;
use hybridrelay::env::Env;
use hybridrelay::protocol::headers;
use hybridrelay::token::SasToken;
use hybridrelay::{Body, EntityPath, ErrorKind, SenderBuilder};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::console::{Console, program, quote};
use crate::failure::{Exit, Failure};
use crate::relay::Route;

/// How long a link opens the door.
const LINK_VALIDITY: Duration = Duration::from_secs(3600);

/// How long the relay may take to say who is let in.
const PATIENCE: Duration = Duration::from_secs(10);

/// The id of no listener.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Whom the relay lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Everybody.
    Open,
    /// Whoever has a token, which our own key can make.
    Ours,
    /// Whoever has a token; our own credential is none for senders.
    Others,
}

/// What senders are to be told.
pub(super) struct Access<'a> {
    route: &'a Route,
    entity: &'a EntityPath,
    door: Door,
}

impl<'a> Access<'a> {
    /// Asks the relay.
    pub(super) async fn find(route: &'a Route, entity: &'a EntityPath) -> Self {
        let door = if is_let_in(route.stranger(entity)).await {
            Door::Open
        } else if route.relay.key().is_some() && is_let_in(route.sender(entity)).await {
            Door::Ours
        } else {
            Door::Others
        };
        Self { route, entity, door }
    }

    /// Fails where senders need a token, and says what would change that.
    pub(super) fn must_be_public(&self) -> Result<(), Failure> {
        if self.door == Door::Open {
            return Ok(());
        }
        let Self { route, entity, .. } = self;
        let (host, authority) = (route.relay.address().host(), route.authority());
        let message = format!("senders of '{entity}' at {authority} need a token, and only the relay can change that");
        let mut advice = format!(
            "in the relay's configuration file, under [namespace.\"{host}\".auto_create]: public = [\"{entity}\"]\n\
             or in the [[namespace.\"{host}\".entity]] of '{entity}': anonymous = true"
        );
        if route.relay.is_local() {
            advice = format!(
                "start the relay with: hybridrelay serve --dev --public {}\nor {advice}",
                quote(entity.as_str())
            );
        }
        Err(Failure::new(Exit::Unauthorized, "Unauthorized", message).with_advice(advice))
    }

    /// Tells the address of the server at `server`, and how to get in. The link is a secret for an hour: it is told to a person at a
    /// terminal, and to others if they ask.
    pub(super) fn tell(&self, server: &str, link: bool, console: Console) {
        let url = self.url();
        let curl = self.curl();
        let link = if link { self.link(&Env::system()) } else { None };
        let mut text = format!("{url} is {server}\n");
        text.push_str(match self.door {
            Door::Open => "whoever knows the address can reach it:\n",
            Door::Ours => "senders need a token; where the connection string is set as here:\n",
            Door::Others => "senders need a token, of a rule that may send:\n",
        });
        text.push_str(&format!("  {curl}"));
        if let Some(link) = &link {
            text.push_str(&format!("\nfor one hour this link needs none:\n  {link}"));
        }
        let fields = json!({
            "entity": self.entity.as_str(),
            "url": url,
            "server": server,
            "public": self.door == Door::Open,
            "curl": curl,
            "link": link,
        });
        console.event("exposed", fields, &text);
    }

    fn url(&self) -> String {
        let scheme = if self.route.relay.address().is_plaintext() { "http" } else { "https" };
        format!("{scheme}://{}/{}/", self.route.authority(), self.entity)
    }

    /// A request by curl. The token is made when it runs, so that none stands in a scrollback or a history.
    fn curl(&self) -> String {
        let mut words = vec!["curl".to_owned()];
        if self.route.insecure_skip_verify {
            words.push("--insecure".to_owned());
        } else if let Some(file) = &self.route.ca_file {
            words.push(format!("--cacert {}", quote(&file.to_string_lossy())));
        }
        match self.door {
            Door::Open => {}
            Door::Ours => {
                let file = self.route.connection_string_file.as_ref();
                let file = file.map_or(String::new(), |file| {
                    format!(" --connection-string-file {}", quote(&file.to_string_lossy()))
                });
                let token = format!("$({} token create {}{file})", program(), quote(self.entity.as_str()));
                words.push(format!("-H \"ServiceBusAuthorization: {token}\""));
            }
            Door::Others => words.push("-H \"ServiceBusAuthorization: $TOKEN\"".to_owned()),
        }
        words.push(quote(&self.url()));
        words.join(" ")
    }

    /// An address that a browser can open.
    fn link(&self, env: &Env) -> Option<String> {
        let (name, key) = self.route.relay.key().filter(|_| self.door == Door::Ours)?;
        let audience = self.route.relay.address().clone().with_entity(self.entity.clone()).audience();
        let token = SasToken::create(&audience, name, key, env.wall_clock() + LINK_VALIDITY).to_text();
        Some(format!("{}?sb-hc-token={}", self.url(), utf8_percent_encode(&token, NON_ALPHANUMERIC)))
    }
}

/// Whether the relay lets a sender in. It asks for a listener that is not there, so that no request gets further than to the relay.
async fn is_let_in(sender: SenderBuilder) -> bool {
    let Ok(sender) = sender.build() else { return false };
    // Not HEAD: the relay's words are in the body.
    let request = Request::get("/").header(headers::ALLOWED_LISTENERS, NOBODY).body(Body::empty());
    let request = request.expect("constants make a request");
    match Env::system().timeout(PATIENCE, sender.request(request)).await {
        Some(Ok(_)) => true,
        Some(Err(error)) => error.kind() == ErrorKind::NoListeners,
        None => false,
    }
}
