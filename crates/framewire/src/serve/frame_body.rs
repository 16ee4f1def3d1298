//! A response's body whose frames are written together when they are there at once: a small one by itself costs the kernel at both
//! ends as much as a picture's beginning does, and hyper writes what is large before it asks for what follows.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Error,
    body::{Body, Bytes},
};
use bytes::{Buf, buf::Chain};
use http_body_util::{BodyExt, combinators::Fuse};
use hyper::body::{Body as Frames, Frame, SizeHint};

/// As many as a part of MJPEG has: its head, the picture, what stands behind it.
const MOST: usize = 3;

type Joint = Chain<Bytes, Chain<Bytes, Bytes>>;

/// Such a body.
pub(super) struct FrameBody {
    body: Fuse<Body>,
    /// What came behind frames and could not be body with them.
    behind: Option<Result<Frame<Joint>, Error>>,
}

impl FrameBody {
    pub(super) fn new(body: Body) -> Self {
        Self { body: body.fuse(), behind: None }
    }
}

impl Frames for FrameBody {
    type Data = Joint;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Joint>, Error>>> {
        if let Some(behind) = self.behind.take() {
            return Poll::Ready(Some(behind));
        }
        let mut joint: [Bytes; MOST] = Default::default();
        for (before, place) in joint.iter_mut().enumerate() {
            match Pin::new(&mut self.body).poll_frame(task) {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    *place = frame.into_data().unwrap_or_default();
                }
                next if before == 0 => return next.map_ok(|trailers| trailers.map_data(alone)),
                Poll::Ready(next) => {
                    self.behind = next.map(|next| next.map(|trailers| trailers.map_data(alone)));
                    break;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(join(joint)))))
    }

    fn is_end_stream(&self) -> bool {
        self.behind.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn join([first, second, third]: [Bytes; MOST]) -> Joint {
    first.chain(second.chain(third))
}

fn alone(data: Bytes) -> Joint {
    join([data, Bytes::new(), Bytes::new()])
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io};

    use super::*;
    use futures_util::{StreamExt, stream};

    /// What is written together of a body.
    async fn written(body: Body) -> Vec<Result<String, ()>> {
        let mut body = FrameBody::new(body);
        let mut written = Vec::new();
        while let Some(frame) = body.frame().await {
            let text = |frame: Frame<Joint>| {
                let mut data = frame.into_data().expect("no trailers");
                String::from_utf8(data.copy_to_bytes(data.remaining()).to_vec()).expect("text")
            };
            written.push(frame.map(text).map_err(drop));
        }
        written
    }

    fn frames(parts: &[&'static str]) -> impl StreamExt<Item = io::Result<Bytes>> + use<> {
        let parts: Vec<_> = parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect();
        stream::iter(parts)
    }

    #[tokio::test]
    async fn what_is_there_at_once_is_written_at_once_and_the_rest_waits_for_nothing() {
        // Pending once, and woken.
        let mut pending = true;
        let later = stream::once(poll_fn(move |task| {
            task.waker().wake_by_ref();
            if std::mem::take(&mut pending) { Poll::Pending } else { Poll::Ready(Ok(Bytes::from_static(b"g"))) }
        }));
        let body = Body::from_stream(frames(&["a", "b", "c", "d", "e"]).chain(later));
        assert_eq!(written(body).await, [Ok("abc".into()), Ok("de".into()), Ok("g".into())]);
        assert_eq!(written(Body::empty()).await, []);
        assert_eq!(written(Body::from("alone")).await, [Ok("alone".into())]);
    }

    #[tokio::test]
    async fn an_error_comes_behind_what_came_before_it() {
        let broken = stream::iter([Err(io::Error::other("broken"))]);
        let body = Body::from_stream(frames(&["a", "b"]).chain(broken));
        assert_eq!(written(body).await, [Ok("ab".into()), Err(())]);
    }
}
