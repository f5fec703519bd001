//! `token`: access tokens, made and checked.

use std::io::{self, IsTerminal, Read};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use hybridrelay::EntityPath;
use hybridrelay::env::Env;
use hybridrelay::token::{Audience, SasToken};
use hybridrelay_relay::units::parse_duration;

use crate::destination::Destination;
use crate::failure::{Exit, Failure};
use crate::relay::{TargetArguments, refuse_connection_string};
use crate::table::print_line;
use crate::units::{format_duration, format_time};

/// A token is a line; more than this is none.
const INPUT_LIMIT: u64 = 64 * 1024;

const CREATE_EXAMPLES: &str = "\
Examples:
  hybridrelay token create hello --validity 8h
  hybridrelay token create http://host/hello/ --key-name send --key \"$KEY\"";

const VERIFY_EXAMPLES: &str = "\
Examples:
  hybridrelay token create hello | hybridrelay token verify hello
  hybridrelay token verify --key-name send --key \"$KEY\" < token.txt

Exits with 0 for a valid token and with 3 for one that is not.";

/// Make or check access tokens
#[derive(Args)]
pub(crate) struct TokenArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print a token, signed with a rule's key
    Create(CreateArguments),
    /// Check a token, and say what is wrong with it
    Verify(VerifyArguments),
}

#[derive(Args)]
#[command(after_help = CREATE_EXAMPLES)]
struct CreateArguments {
    #[command(flatten)]
    audience: AudienceArguments,

    /// How long the token is valid
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    validity: Duration,

    #[command(flatten)]
    key: KeyArguments,
}

#[derive(Args)]
#[command(after_help = VERIFY_EXAMPLES)]
struct VerifyArguments {
    #[command(flatten)]
    audience: AudienceArguments,

    #[command(flatten)]
    key: KeyArguments,
}

#[derive(Args)]
struct AudienceArguments {
    /// What the token is for: a hybrid connection of the connection string's relay, or a URI
    ///
    /// Default: the EntityPath of the connection string, else the whole namespace.
    audience: Option<String>,

    /// What the token is for, as a URI that is signed as it stands
    #[arg(long, value_name = "URI", conflicts_with = "audience")]
    uri: Option<String>,
}

#[derive(Args)]
struct KeyArguments {
    #[command(flatten)]
    target: TargetArguments,

    /// Name of the rule, instead of the connection string's
    #[arg(long, value_name = "NAME", requires = "key", help_heading = "Key")]
    key_name: Option<String>,

    /// Key of the rule; other users of this machine can read command lines
    #[arg(long, value_name = "KEY", requires = "key_name", help_heading = "Key")]
    key: Option<String>,
}

/// With what a token is signed, and for what.
struct Signing {
    key_name: String,
    key: String,
    /// `None` if nothing tells.
    audience: Option<String>,
}

pub(crate) fn run(arguments: TokenArguments) -> Result<(), Failure> {
    match arguments.action {
        Action::Create(arguments) => create(arguments),
        Action::Verify(arguments) => verify(arguments),
    }
}

fn create(arguments: CreateArguments) -> Result<(), Failure> {
    let Signing { key_name, key, audience } = arguments.key.resolve(&arguments.audience)?;
    let audience = audience.ok_or_else(|| {
        Failure::usage("nothing tells what the token is for")
            .with_advice("name it as a URI, such as http://host/entity/")
    })?;
    let expires_at = Env::system().wall_clock().checked_add(arguments.validity);
    let expires_at = expires_at.ok_or_else(|| Failure::usage("--validity is beyond every calendar"))?;
    let token = SasToken::create(&audience, &key_name, &key, expires_at);
    print_line(&token.to_text()).map(|_| ())
}

fn verify(arguments: VerifyArguments) -> Result<(), Failure> {
    let signing = arguments.key.resolve(&arguments.audience)?;
    let invalid =
        |why: &str| Failure::new(Exit::Unauthorized, "InvalidToken", format!("the token is not valid: {why}"));
    let token = SasToken::parse(&read_token()?).map_err(|error| invalid(&error.to_string()))?;
    let now = Env::system().wall_clock();
    let faults = faults(&token, &signing, now);
    if !faults.is_empty() {
        return Err(invalid(&faults.join("; ")));
    }
    let left = token.expires_at().duration_since(now).unwrap_or_default();
    let scope = signing.audience.map(|audience| format!(" for {audience}")).unwrap_or_default();
    let (end, left) = (format_time(token.expires_at()), format_duration(left));
    let line = format!("valid{scope}, signed by rule '{}', until {end} ({left} left)", token.key_name());
    print_line(&line).map(|_| ())
}

/// Everything that makes a relay refuse the token (protocol.md 2.3).
fn faults(token: &SasToken, signing: &Signing, now: SystemTime) -> Vec<String> {
    let mut faults = Vec::new();
    if !token.key_name().eq_ignore_ascii_case(&signing.key_name) {
        faults.push(format!("it names the rule '{}', not '{}'", token.key_name(), signing.key_name));
    }
    if !token.signature_matches(&signing.key) {
        faults.push("its signature was not made with this key".to_owned());
    }
    if let Ok(ago) = now.duration_since(token.expires_at()) {
        faults.push(format!("it expired at {}, {} ago", format_time(token.expires_at()), format_duration(ago)));
    }
    if let Some(wanted) = &signing.audience {
        let (own, path) = (token.audience(), path_of(wanted));
        if own.host() != Audience::parse(wanted).host() || !own.covers(path) {
            faults.push(format!("it is for another audience than {wanted}"));
        }
    }
    faults
}

/// The path of an audience, without `$hc/`, query and fragment.
fn path_of(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("$hc/")).map_or(path, |_| &path[4..])
}

impl KeyArguments {
    fn resolve(&self, audience: &AudienceArguments) -> Result<Signing, Failure> {
        if let Some(text) = &audience.audience {
            refuse_connection_string(text)?;
        }
        let relay = self.target.find()?;
        let (key_name, key) = match (&self.key_name, &self.key) {
            (Some(name), Some(key)) => (name.clone(), key.clone()),
            _ => {
                let relay = relay.as_ref().ok_or_else(|| {
                    Failure::usage("no key is given")
                        .with_advice("set HYBRIDRELAY_CONNECTION_STRING, or give --key-name and --key")
                })?;
                let (name, key) = relay.key().ok_or_else(|| Failure::usage("the connection string holds no key"))?;
                (name.to_owned(), key.to_owned())
            }
        };
        let address = relay.map(|relay| relay.address().clone());
        let own = address.as_ref().and_then(|address| address.entity());
        let audience = match (audience.uri.as_ref().or(audience.audience.as_ref()), &address) {
            (Some(uri), _) if audience.uri.is_some() || uri.contains("://") => Some(uri.clone()),
            (Some(name), Some(address)) => {
                let entity: EntityPath = Destination::parse(name, own)?.entity;
                Some(address.clone().with_entity(entity).audience())
            }
            (Some(_), None) => {
                return Err(Failure::usage("a hybrid connection alone does not name a relay")
                    .with_advice("name it as a URI, such as http://host/entity/"));
            }
            (None, address) => address.as_ref().map(|address| address.audience()),
        };
        Ok(Signing { key_name, key, audience })
    }
}

/// Reads the token from standard input: as an argument everybody could read it.
fn read_token() -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::usage("no token on standard input").with_advice("hybridrelay token verify < token.txt"));
    }
    let mut text = String::new();
    let read = io::stdin().lock().take(INPUT_LIMIT).read_to_string(&mut text);
    read.map_err(|error| Failure::io("the token cannot be read from standard input", &error))?;
    Ok(text)
}
