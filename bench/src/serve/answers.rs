//! What the server and the listener answer: the same, so that only the way there differs.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hybridrelay::Body;

use crate::http::{LARGE, SMALL};

/// How much of a long body is made at once.
const PIECE: usize = 64 * 1024;

/// Answers a GET of anything that ends with `/large` with a long body, of anything else with a short one; and a POST, when it has come
/// in whole, with nothing.
pub(super) async fn answer<B>(request: Request<B>) -> Result<Response<Body>, B::Error>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (parts, mut body) = request.into_parts();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let body = match (parts.method, parts.uri.path()) {
        (http::Method::POST, _) => Body::empty(),
        (_, path) if path.ends_with("/large") => Body::new(Repeated::new(LARGE)),
        _ => Body::from(&[b'x'; SMALL][..]),
    };
    Ok(Response::new(body))
}

/// So many bytes, which nobody has to keep.
pub(crate) struct Repeated {
    left: u64,
}

impl Repeated {
    pub(crate) fn new(len: u64) -> Self {
        Self { left: len }
    }
}

impl HttpBody for Repeated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PAYLOAD: [u8; PIECE] = [b'x'; PIECE];
        let len = self.left.min(PIECE as u64);
        self.left -= len;
        // At most a piece, so it fits.
        let piece = Bytes::from_static(&PAYLOAD[..len as usize]);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
