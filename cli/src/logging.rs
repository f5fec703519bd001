//! Logs on standard error.

use tracing_subscriber::EnvFilter;

use crate::console;
use crate::failure::{Exit, Failure};

/// The variables that say what to log, the first one that is set.
const VARIABLES: [&str; 2] = ["HYBRIDRELAY_LOG", "RUST_LOG"];

/// Starts logging: what `HYBRIDRELAY_LOG` or `RUST_LOG` asks for, else as many levels as `-v` was given, else what the configuration
/// file says.
pub(crate) fn start(verbose: u8, json: bool, configured: Option<&str>) -> Result<(), Failure> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(verbose, configured)?).with_writer(std::io::stderr);
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(console::decorated()).with_target(verbose > 1).init();
    }
    Ok(())
}

fn filter(verbose: u8, configured: Option<&str>) -> Result<EnvFilter, Failure> {
    for variable in VARIABLES {
        let Ok(directives) = std::env::var(variable) else { continue };
        if directives.is_empty() {
            continue;
        }
        return EnvFilter::builder()
            .parse(&directives)
            .map(restrain)
            .map_err(|error| Failure::usage(format!("{variable} cannot be read: {error}")));
    }
    if let Some(directives) = configured.filter(|_| verbose == 0) {
        return read(directives);
    }
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    // The verifier logs as an error what our error says already.
    Ok(restrain(EnvFilter::new(format!(
        "warn,rustls_platform_verifier=off,hybridrelay={level},hybridrelay_relay={level}"
    ))))
}

/// Reads the directives of a configuration file.
pub(crate) fn read(directives: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::builder().parse(directives).map(restrain).map_err(|error| {
        Failure::new(Exit::Failed, "InvalidConfiguration", format!("[log] filter cannot be read: {error}"))
            .with_advice("write a level such as \"info\", or directives such as \"warn,hybridrelay_relay=debug\"")
    })
}

/// Libraries that print whole frames and requests at their lowest level would show tokens and tickets.
fn restrain(filter: EnvFilter) -> EnvFilter {
    ["tungstenite=info", "tokio_tungstenite=info", "hyper=info", "rustls=info"].iter().fold(
        filter,
        |filter, directive| {
            // Directives of this form always parse.
            match directive.parse() {
                Ok(directive) => filter.add_directive(directive),
                Err(_) => filter,
            }
        },
    )
}
