//! Where a stream has many viewers over HTTP, each of its pictures is written out once for all of them.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use framewire_proto::{Frame, wire::multipart};

use crate::{clock, net::shared_page::SharedPage};

/// So many viewers are many: with fewer it costs as much as is gained.
const SHARE_FROM: usize = 128;
/// Pictures that are kept: viewers at different links get different ones.
const KEPT: usize = 4;

/// The broadcasts by the names of their streams.
#[derive(Default)]
pub(super) struct Broadcasts(Mutex<HashMap<String, Weak<Broadcast>>>);

/// Viewers of one stream. Each holds it.
#[derive(Default)]
pub(super) struct Broadcast {
    /// The newest first, each beside the frame that it was made of.
    parts: Mutex<VecDeque<(Frame, Part)>>,
}

/// A picture as a part of a multipart response, but for what stands behind each.
#[derive(Clone)]
pub(super) struct Part {
    pub head: Bytes,
    pub picture: Bytes,
    /// What all of it is sent from, where that is one for all.
    pub page: Option<Arc<SharedPage>>,
}

impl Broadcasts {
    /// The broadcast of this stream.
    pub(super) fn join(&self, name: &str) -> Arc<Broadcast> {
        let mut broadcasts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(broadcast) = broadcasts.get(name).and_then(Weak::upgrade) {
            return broadcast;
        }
        broadcasts.retain(|_, broadcast| broadcast.strong_count() > 0);
        let broadcast = Arc::default();
        broadcasts.insert(name.to_owned(), Arc::downgrade(&broadcast));
        broadcast
    }
}

impl Broadcast {
    /// This picture's part.
    pub(super) fn part(self: &Arc<Self>, frame: &Frame) -> Part {
        if Arc::strong_count(self) < SHARE_FROM {
            return Part::new(frame);
        }
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        // Kept beside the part, its memory can be no other picture's.
        let same = |(kept, _): &&(Frame, _)| {
            (kept.sequence, kept.data.as_ptr_range()) == (frame.sequence, frame.data.as_ptr_range())
        };
        if let Some((_, part)) = parts.iter().find(same) {
            return part.clone();
        }
        let part = Part::shared(frame).unwrap_or_else(|error| {
            tracing::debug!("a picture is written out for each viewer by itself: {error}");
            Part::new(frame)
        });
        parts.truncate(KEPT - 1);
        parts.push_front((frame.clone(), part.clone()));
        part
    }
}

impl Part {
    fn new(frame: &Frame) -> Self {
        let head = multipart::part_head(frame.data.len(), clock::calendar(frame.times.captured), frame.sequence);
        Self { head: head.into(), picture: frame.data.clone(), page: None }
    }

    fn shared(frame: &Frame) -> io::Result<Self> {
        let Self { head, picture, .. } = Self::new(frame);
        // Around each piece of a body HTTP writes its length (RFC 9112, section 7.1).
        let length = head.len() + picture.len() + multipart::CLOSING.len();
        let length = format!("{length:X}\r\n");
        let whole = [length.as_bytes(), &head, &picture, multipart::CLOSING, b"\r\n"].concat();
        let page = Arc::new(SharedPage::new(whole.into())?);
        let (begin, middle) = (length.len(), length.len() + head.len());
        let piece = |from: usize, to: usize| page.bytes().slice(from..to);
        let (head, picture) = (piece(begin, middle), piece(middle, middle + picture.len()));
        Ok(Self { head, picture, page: Some(page) })
    }
}
