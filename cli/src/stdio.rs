//! Standard input and output, joined to a connection as netcat joins them to a socket.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::pin::pin;

use hybridrelay::{ByteStream, Connection, Error, ErrorKind};
use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, Stdin, Stdout, WriteHalf, stdin, stdout,
};

/// How much is moved at once.
const CHUNK: usize = 64 * 1024;

/// This process's standard input and output. Reading begins with the first connection.
pub(crate) struct Stdio {
    input: BufReader<Stdin>,
    output: Stdout,
    /// A person types: they are done when the peer is.
    interactive: bool,
    /// Standard output ends with the first connection, which tells whoever reads it.
    once: bool,
}

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Bytes, whatever the messages they come in.
    Bytes,
    /// One text message for each line.
    Lines,
}

/// Why a conversation broke off.
pub(crate) enum Broken {
    /// The connection failed.
    Connection(Error),
    /// Standard input or output failed.
    Local(&'static str, io::Error),
    /// Nobody reads our standard output any more, as with `| head -1`: the conversation is over, and nothing is wrong.
    NoReader,
}

impl Stdio {
    pub(crate) fn new(once: bool) -> Self {
        Self {
            input: BufReader::with_capacity(CHUNK, stdin()),
            output: stdout(),
            interactive: io::stdin().is_terminal(),
            once,
        }
    }

    /// Carries standard input to the peer and what comes from it to standard output.
    ///
    /// The end of input closes our direction, and the peer's end closes standard output; both have ended when this returns. Only at a
    /// terminal the peer's end is the end of all.
    pub(crate) async fn join(&mut self, connection: Connection, payload: Payload) -> Result<(), Broken> {
        let handle = connection.clone();
        let outcome = match payload {
            Payload::Bytes => {
                let (reader, writer) = tokio::io::split(connection.into_stream().map_err(Broken::Connection)?);
                let sending = send_bytes(&mut self.input, writer);
                let receiving = receive_bytes(reader, &mut self.output);
                converse(sending, receiving, &handle, self.interactive, self.once).await
            }
            Payload::Lines => {
                let sending = send_lines(&mut self.input, &handle);
                let receiving = receive_lines(&handle, &mut self.output);
                converse(sending, receiving, &handle, self.interactive, self.once).await
            }
        };
        match outcome {
            Ok(()) => handle.close().await.map_err(Broken::Connection),
            Err(broken) => {
                handle.abort();
                Err(broken)
            }
        }
    }
}

/// Runs both directions until both have ended.
async fn converse(
    sending: impl Future<Output = Result<(), Broken>>,
    receiving: impl Future<Output = Result<(), Broken>>,
    connection: &Connection,
    interactive: bool,
    once: bool,
) -> Result<(), Broken> {
    let (mut sending, mut receiving) = (pin!(sending), pin!(receiving));
    tokio::select! {
        received = &mut receiving => {
            received?;
            if interactive {
                return Ok(());
            }
            if once {
                end_output().map_err(|error| Broken::Local("standard output", error))?;
            }
            sending.await
        }
        sent = &mut sending => {
            if let Err(Broken::Local(..)) = sent {
                connection.abort();
                return sent;
            }
            // What came before the connection broke is still delivered.
            let received = receiving.await;
            sent.and(received)
        }
    }
}

async fn send_bytes(input: &mut BufReader<Stdin>, mut writer: WriteHalf<ByteStream>) -> Result<(), Broken> {
    loop {
        let chunk = input.fill_buf().await.map_err(|error| Broken::Local("standard input", error))?;
        if chunk.is_empty() {
            return writer.shutdown().await.map_err(broken);
        }
        let taken = chunk.len();
        writer.write_all(chunk).await.map_err(broken)?;
        input.consume(taken);
    }
}

async fn receive_bytes(mut reader: ReadHalf<ByteStream>, output: &mut Stdout) -> Result<(), Broken> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk).await.map_err(broken)? {
            0 => return Ok(()),
            taken => print(output, &chunk[..taken]).await?,
        }
    }
}

async fn send_lines(input: &mut BufReader<Stdin>, connection: &Connection) -> Result<(), Broken> {
    let mut line = String::new();
    loop {
        line.clear();
        let read = input.read_line(&mut line).await.map_err(|error| Broken::Local("standard input", error))?;
        if read == 0 {
            return connection.shutdown().await.map_err(Broken::Connection);
        }
        let text = line.strip_suffix('\n').unwrap_or(&line);
        connection.send(text.strip_suffix('\r').unwrap_or(text)).await.map_err(Broken::Connection)?;
    }
}

async fn receive_lines(connection: &Connection, output: &mut Stdout) -> Result<(), Broken> {
    while let Some(message) = connection.receive().await.map_err(Broken::Connection)? {
        print(output, &[message.as_bytes(), b"\n"].concat()).await?;
    }
    Ok(())
}

/// Writes at once: what a peer says must not wait in a buffer for what it says next.
async fn print(output: &mut Stdout, bytes: &[u8]) -> Result<(), Broken> {
    let printed = async {
        output.write_all(bytes).await?;
        output.flush().await
    };
    printed.await.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Broken::NoReader,
        _ => Broken::Local("standard output", error),
    })
}

/// Lets whoever reads standard output see its end while this process goes on sending, as a half-closed socket would.
fn end_output() -> io::Result<()> {
    let nothing = File::options().write(true).open("/dev/null")?;
    Ok(nix::unistd::dup2_stdout(nothing)?)
}

/// What a byte stream's error means.
pub(crate) fn broken(error: io::Error) -> Broken {
    Broken::Connection(match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::new(ErrorKind::ConnectionLost, "the connection was lost").with_reason(error.to_string()),
    })
}
