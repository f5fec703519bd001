//! The load: a hyper client on connections that are kept, in this process, which is not measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::header::HOST;
use http::{Request, Response};
use http_body_util::BodyExt;
use hybridrelay::Body;
use hybridrelay::protocol::headers::SERVICE_BUS_AUTHORIZATION;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::contender::Entrance;
use super::{LARGE, SMALL};
use crate::serve::Repeated;

/// Nothing that is measured takes this long: whoever does is stuck, and the measurement fails.
const STUCK: Duration = Duration::from_secs(120);

/// Connections to one contender.
pub(crate) struct Load {
    connections: Vec<Connection>,
}

struct Connection {
    requests: SendRequest<Body>,
    entrance: Entrance,
}

impl Load {
    pub(crate) async fn connect(entrance: &Entrance, connections: usize) -> Result<Self> {
        let connections = try_join_all((0..connections).map(|_| Connection::open(entrance))).await?;
        Ok(Self { connections })
    }

    /// Short answers, so many on all connections together, on each one after the other. Returns how long each took.
    pub(crate) async fn small(&mut self, requests: usize) -> Result<Vec<Duration>> {
        let each = requests.div_ceil(self.connections.len());
        let loads = self.connections.iter_mut().map(|connection| async move {
            let mut taken = Vec::with_capacity(each);
            for _ in 0..each {
                let began = Instant::now();
                connection.get("/bench/small", SMALL as u64).await?;
                taken.push(began.elapsed());
            }
            Ok::<_, anyhow::Error>(taken)
        });
        Ok(in_time(try_join_all(loads)).await?.concat())
    }

    /// A long answer.
    pub(crate) async fn download(&mut self) -> Result<()> {
        in_time(self.first()?.get("/bench/large", LARGE)).await
    }

    /// A long request.
    pub(crate) async fn upload(&mut self) -> Result<()> {
        in_time(self.first()?.post()).await
    }

    fn first(&mut self) -> Result<&mut Connection> {
        self.connections.first_mut().context("no connection")
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(STUCK, work).await.context("nothing more comes")?
}

impl Connection {
    async fn open(entrance: &Entrance) -> Result<Self> {
        let socket = TcpStream::connect(entrance.address).await?;
        socket.set_nodelay(true)?;
        let requests = match &entrance.tls {
            None => handshake(socket).await?,
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                handshake(TlsConnector::from(config.clone()).connect(name, socket).await?).await?
            }
        };
        Ok(Self { requests, entrance: entrance.clone() })
    }

    async fn get(&mut self, path: &str, len: u64) -> Result<()> {
        let response = self.ask(Request::get(path), Body::empty()).await?;
        let mut body = response.into_body();
        let mut came = 0;
        while let Some(frame) = body.frame().await {
            came += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        ensure!(came == len, "{came} bytes came instead of {len}");
        Ok(())
    }

    async fn post(&mut self) -> Result<()> {
        let response = self.ask(Request::post("/bench/large"), Body::new(Repeated::new(LARGE))).await?;
        response.into_body().collect().await?;
        Ok(())
    }

    async fn ask(&mut self, request: http::request::Builder, body: Body) -> Result<Response<Incoming>> {
        let Self { requests, entrance } = self;
        let mut request = request.header(HOST, format!("localhost:{}", entrance.address.port()));
        if let Some(token) = &entrance.token {
            request = request.header(SERVICE_BUS_AUTHORIZATION, token);
        }
        requests.ready().await?;
        let response = requests.send_request(request.body(body)?).await?;
        ensure!(response.status() == 200, "a request was answered with {}", response.status());
        Ok(response)
    }
}

async fn handshake(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<SendRequest<Body>> {
    let (requests, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(requests)
}
