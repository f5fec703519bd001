//! The demonstration's HTTP request: an answer that streams, and its digest at both ends.

use http::{Request, Response};
use hybridrelay::env::Env;
use hybridrelay::{Body, Error, ErrorKind, Incoming, IncomingRequest, Listener, Result, Sender};
use hybridrelay_relay::LocalRelay;
use indicatif::HumanBytes;
use sha2::{Digest, Sha256};

use super::transfer::{CHUNK, Noise, Received};
use super::{ENTITY, say};

/// How long the answer is.
const SIZE: u64 = 16 << 20;

/// Asks and answers.
pub(super) async fn show(env: &Env, relay: &LocalRelay, ca: &str, listener: &Listener) -> Result<()> {
    let (received, sent) = tokio::join!(ask(relay, ca), answer(env, listener));
    let (received, sent) = (received?, sent?);
    if received != sent {
        return Err(Error::new(ErrorKind::Internal, "what was answered is not what came"));
    }
    say("sender", format_args!("has     {} bytes   SHA-256 {}", received.bytes, received.sha256));
    say("listener", format_args!("sent    {} bytes   SHA-256 {}", sent.bytes, sent.sha256));
    Ok(())
}

async fn ask(relay: &LocalRelay, ca: &str) -> Result<Received> {
    let sender = Sender::builder(relay.connection_string(ENTITY)).extra_ca_pem(ca).build()?;
    say("sender", format_args!("asks again, by HTTP: GET /{ENTITY}/report?year=2026"));
    let request = Request::get("/report?year=2026").body(Body::empty());
    let response = sender.request(request.map_err(|_| Error::new(ErrorKind::Internal, "no request"))?).await?;
    say("sender", format_args!("sees {}, and reads the body as it comes", response.status()));
    let mut body = response.into_body();
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    while let Some(chunk) = body.chunk().await? {
        digest.update(&chunk);
        bytes += chunk.len() as u64;
    }
    Ok(Received::new(bytes, digest))
}

async fn answer(env: &Env, listener: &Listener) -> Result<Received> {
    let (request, responder) = next(listener).await?.into_parts();
    let size = HumanBytes(SIZE);
    say("listener", format_args!("sees {} {}; streams {size} of random bytes", request.method(), request.uri()));
    let mut writer = responder.start(Response::new(()))?;
    let (mut noise, mut digest) = (Noise::new(env), Sha256::new());
    for _ in 0..SIZE / CHUNK as u64 {
        let mut chunk = vec![0; CHUNK];
        noise.fill(&mut chunk);
        digest.update(&chunk);
        writer.write(chunk).await?;
    }
    writer.finish().await?;
    Ok(Received::new(SIZE, digest))
}

async fn next(listener: &Listener) -> Result<IncomingRequest> {
    loop {
        match listener.accept().await? {
            Some(Incoming::Request(request)) => return Ok(request),
            Some(_) => {}
            None => return Err(Error::new(ErrorKind::Closed, "the listener was closed")),
        }
    }
}
