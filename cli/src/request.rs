//! `request`: an HTTP request to a listener, and its answer on standard output.

use std::io;

use clap::Args;
use http::{Method, Request, Response, Uri, Version, header};
use hybridrelay::{Body, ReasonPhrase};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;
use tokio::io::{AsyncWriteExt, Stdout, stdout};

use crate::console::Console;
use crate::destination::Destination;
use crate::failure::{Exit, Failure};
use crate::relay::{RelayArguments, Route, refuse_connection_string};

mod data;

pub(crate) use data::{Data, streamed};

const EXAMPLES: &str = "\
Examples:
  hybridrelay request 'orders/7?verbose=1'
  hybridrelay request -i PUT orders/7 -H 'Content-Type: application/json' -d '{\"state\":\"paid\"}'
  hybridrelay request orders/import -d @orders.csv
  tar c photos | hybridrelay request PUT backup/photos.tar -d @-
  hybridrelay request --fail web/file > file

The answer's body goes to standard output as it comes. The exit code tells whether there was an answer, whatever its status; with --fail a \
status of 400 or more counts as a failure too, and the body is written all the same.";

/// What may not stand in a path or query as it is. A '%' stays, so that what is encoded already passes.
const TARGET: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Send an HTTP request to a listener, like curl
#[derive(Args)]
#[command(after_help = EXAMPLES, override_usage = "hybridrelay request [OPTIONS] [METHOD] <ENTITY[/path][?query]>")]
pub(crate) struct RequestArguments {
    /// Hybrid connection, path and query behind it, and in front of them the method
    ///
    /// They pass byte for byte; characters that may not stand in a URL are encoded. What begins with '/' or '?' is put behind the
    /// EntityPath of the connection string. The method is GET, or POST with data, where none is named.
    #[arg(value_name = "[METHOD] ENTITY[/path][?query]", num_args = 1..=2, required = true)]
    what: Vec<String>,

    /// Send this as the body, or what is in a file (@FILE), or standard input (@-), byte for byte and as it comes
    #[arg(short, long, visible_alias = "data-binary", value_name = "DATA")]
    data: Option<Data>,

    /// Print status and headers in front of the body
    #[arg(short, long)]
    include: bool,

    /// Fail if the answer's status is 400 or more
    #[arg(short, long)]
    fail: bool,

    #[command(flatten)]
    relay: RelayArguments,
}

pub(crate) async fn run(arguments: RequestArguments, console: Console) -> Result<(), Failure> {
    let RequestArguments { what, data, .. } = &arguments;
    let method = if data.is_some() { Method::POST } else { Method::GET };
    let prepared = Prepared::new(what, data.as_ref(), method, &arguments.relay).await?;
    let Prepared { route, destination, request } = prepared;
    let exchange = Exchange { route: &route, destination: &destination };
    let sender = route.sender(&destination.entity).build()?;
    let response = sender.request(request).await.map_err(|error| exchange.failure(error))?;
    let status = response.status();
    console.quiet_event("answered", json!({"status": status.as_u16(), "reason": reason(&response)}));
    let described = format!("{} {}", status.as_u16(), reason(&response)).trim_end().to_owned();
    match exchange.print(response, arguments.include).await {
        Err(Unprinted::NoReader) | Ok(()) => {}
        Err(Unprinted::Failed(failure)) => return Err(failure),
    }
    if arguments.fail && status.as_u16() >= 400 {
        return Err(Failure::new(Exit::Failed, "Status", format!("the answer is {described}")));
    }
    Ok(())
}

/// A request, and the way to whoever is asked.
pub(crate) struct Prepared {
    pub(crate) route: Route,
    pub(crate) destination: Destination,
    pub(crate) request: Request<Body>,
}

impl Prepared {
    /// Puts a request together from `[METHOD] ENTITY[/path][?query]` and its data.
    pub(crate) async fn new(
        what: &[String],
        data: Option<&Data>,
        method: Method,
        relay: &RelayArguments,
    ) -> Result<Self, Failure> {
        let (named, destination) = match what {
            [destination] => (None, destination),
            [method, destination] => (Some(parse_method(method)?), destination),
            _ => return Err(Failure::usage("give one hybrid connection, and at most one method in front of it")),
        };
        refuse_connection_string(destination)?;
        let route = relay.resolve()?;
        let destination = Destination::parse_for_request(destination, route.relay.address().entity())?;
        let target = target(&destination)?;
        let (body, length) = match data {
            Some(data) => data.open().await?,
            None => (Body::empty(), None),
        };
        let mut request = Request::new(body);
        *request.method_mut() = named.unwrap_or(method);
        *request.uri_mut() = target;
        if let Some(length) = length {
            request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        Ok(Self { route, destination, request })
    }
}

/// One request and what it was about.
struct Exchange<'a> {
    route: &'a Route,
    destination: &'a Destination,
}

/// Why an answer was not printed whole.
enum Unprinted {
    /// Nobody reads our standard output any more, as with `| head -1`: nothing is wrong.
    NoReader,
    Failed(Failure),
}

impl Exchange<'_> {
    fn failure(&self, error: hybridrelay::Error) -> Failure {
        self.route.failure(error, &self.destination.entity, true)
    }

    async fn print(&self, response: Response<Body>, include: bool) -> Result<(), Unprinted> {
        let mut output = stdout();
        if include {
            print(&mut output, &head(&response)).await?;
        }
        let mut body = response.into_body();
        while let Some(chunk) = body.chunk().await.map_err(|error| Unprinted::Failed(self.failure(error)))? {
            print(&mut output, &chunk).await?;
        }
        Ok(())
    }
}

/// Writes at once: who reads it may act upon it.
async fn print(output: &mut Stdout, bytes: &[u8]) -> Result<(), Unprinted> {
    let printed = async {
        output.write_all(bytes).await?;
        output.flush().await
    };
    printed.await.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Unprinted::NoReader,
        _ => Unprinted::Failed(Failure::io("standard output failed", &error)),
    })
}

/// Status and headers as HTTP/1.1 writes them.
fn head(response: &Response<Body>) -> Vec<u8> {
    let version = if response.version() == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
    let mut head = format!("{version} {} {}\r\n", response.status().as_u16(), reason(response)).into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn reason(response: &Response<Body>) -> &str {
    response.extensions().get::<ReasonPhrase>().map_or("", |reason| &reason.0)
}

/// Path and query behind the hybrid connection's name.
pub(crate) fn target(destination: &Destination) -> Result<Uri, Failure> {
    let path = if destination.path.is_empty() { "/" } else { &destination.path };
    let query = if destination.query.is_empty() { String::new() } else { format!("?{}", destination.query) };
    let target = utf8_percent_encode(&format!("{path}{query}"), TARGET).to_string();
    target.parse().map_err(|_| Failure::usage("the path cannot be sent"))
}

fn parse_method(text: &str) -> Result<Method, Failure> {
    Method::from_bytes(text.as_bytes()).map_err(|_| Failure::usage(format!("{text:?} is no HTTP method")))
}
