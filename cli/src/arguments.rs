//! The command line.

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::config::ConfigArguments;
use crate::connect::ConnectArguments;
use crate::demo::DemoArguments;
use crate::endpoints::EndpointsArguments;
use crate::expose::ExposeArguments;
use crate::listen::ListenArguments;
use crate::manual::{CompletionsArguments, ManArguments};
use crate::publish::PublishArguments;
use crate::request::RequestArguments;
use crate::send::SendArguments;
use crate::serve::ServeArguments;
use crate::status::StatusArguments;
use crate::subscribe::SubscribeArguments;
use crate::token::TokenArguments;

const EXAMPLES: &str = "\
Examples:
  hybridrelay demo                     see a relay, a listener and a sender at work
  hybridrelay serve --dev              run a relay on this machine
  hybridrelay serve --config FILE      run one for others
  hybridrelay listen hello --echo      be online as 'hello', send back what comes
  hybridrelay connect hello            talk to it, like netcat
  hybridrelay expose web 8080          let others reach http://localhost:8080
  hybridrelay request web/orders/7     ask it
  hybridrelay send web/jobs -d 7       tell it, and wait for no answer
  hybridrelay status web --watch       see who listens there, and who comes and goes
  hybridrelay subscribe events/doors   hear what publishers say
  hybridrelay publish events/doors 'front door opened'
  hybridrelay listen ssh --exec 'nc localhost 22'
  ssh -o ProxyCommand='hybridrelay connect ssh' me@there

Environment:
  HYBRIDRELAY_CONNECTION_STRING        the relay and the key; 'serve --dev' prints one
  HYBRIDRELAY_CONNECTION_STRING_FILE   a file that holds it
  HYBRIDRELAY_EXTRA_CA                 certificates to trust beside the system's
  HYBRIDRELAY_LOG, RUST_LOG            what to log, such as 'hybridrelay=trace'

Exit codes:
  0 done  1 failed  2 wrong usage  3 unauthorized  4 no such endpoint or no listener
  5 timed out  6 network or TLS failure";

/// Connect programs that cannot reach each other: both dial out to a relay and meet there.
///
/// Speaks the Hybrid Connections protocol, so the relay may be Azure Relay or this program's own ('hybridrelay serve').
#[derive(Parser)]
#[command(name = "hybridrelay", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a relay
    Serve(ServeArguments),
    /// Check, show or begin a relay's configuration file
    Config(ConfigArguments),
    /// Be online under a hybrid connection and serve who connects
    Listen(ListenArguments),
    /// Connect standard input and output to a listener
    Connect(ConnectArguments),
    /// Let senders reach a server near here, by HTTP or as a stream
    Expose(ExposeArguments),
    /// Send an HTTP request to a listener
    Request(RequestArguments),
    /// Hand an HTTP request to a listener without waiting for its answer
    Send(SendArguments),
    /// Tell who listens on a hybrid connection
    Status(StatusArguments),
    /// Tell which endpoints of a namespace are online
    Endpoints(EndpointsArguments),
    /// Publish events to everybody who listens
    Publish(PublishArguments),
    /// Write what publishers say on standard output
    Subscribe(SubscribeArguments),
    /// Make or check access tokens
    Token(TokenArguments),
    /// Show a relay, a listener and a sender at work on this machine
    Demo(DemoArguments),
    /// Write completions for a shell
    Completions(CompletionsArguments),
    /// Write manual pages
    Man(ManArguments),
}

#[derive(Args)]
pub(crate) struct OutputArguments {
    /// Log more on standard error: -v what happens, -vv every step, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,

    /// Write status, errors and logs on standard error as one JSON object per line
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
}
