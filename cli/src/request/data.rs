//! What a request carries.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::BytesMut;
use futures_util::stream;
use hybridrelay::Body;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, stdin};

use crate::failure::Failure;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// The argument of `--data`. Not `Debug`: it may hold secrets.
#[derive(Clone)]
pub(crate) enum Data {
    Text(String),
    File(PathBuf),
    Input,
}

impl FromStr for Data {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix('@') {
            Some("-") => Self::Input,
            Some(file) => Self::File(file.into()),
            None => Self::Text(text.to_owned()),
        })
    }
}

impl Data {
    /// The body, and its length where the body itself does not tell it.
    pub(super) async fn open(&self) -> Result<(Body, Option<u64>), Failure> {
        match self {
            Self::Text(text) => Ok((text.clone().into(), None)),
            Self::Input => Ok((streamed(stdin()), None)),
            Self::File(path) => {
                let unreadable = |error| Failure::io(format!("{} cannot be read", path.display()), &error);
                let file = File::open(path).await.map_err(unreadable)?;
                let about = file.metadata().await.map_err(unreadable)?;
                if about.is_dir() {
                    return Err(Failure::usage(format!("{} is a directory", Path::display(path))));
                }
                // Pipes and devices have none that counts.
                let length = about.is_file().then_some(about.len());
                Ok((streamed(file), length))
            }
        }
    }
}

/// A body that is read as it is sent.
pub(crate) fn streamed(reader: impl AsyncRead + Send + Unpin + 'static) -> Body {
    Body::from_stream(stream::try_unfold(reader, |mut reader| async {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let read = reader.read_buf(&mut chunk).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (chunk.freeze(), reader)))
    }))
}
