//! Where a stream has many viewers over HTTP, each of its pictures is handed to the kernel once for all of them.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use framewire_proto::{Frame, wire::multipart};
use tracing::debug;

use crate::{clock, net::shared_page::SharedPage};

/// From this many viewers on pictures are shared: with fewer it costs as much as it saves.
const SHARE_FROM: usize = 128;
/// Pictures that are kept: viewers at different links get different ones.
const KEPT: usize = 4;

/// The broadcasts by the names of their streams.
#[derive(Default)]
pub(super) struct Broadcasts(Mutex<HashMap<String, Weak<Broadcast>>>);

/// The viewers of one stream. Each holds it.
#[derive(Default)]
pub(super) struct Broadcast {
    /// The newest first, each beside the frame that it was made of.
    pages: Mutex<VecDeque<(Frame, Arc<SharedPage>)>>,
}

/// How a picture is written as a part of a multipart response.
pub(super) enum Part {
    /// The whole part from one page for all viewers.
    Shared(Arc<SharedPage>),
    /// For this viewer alone: this head, the picture and [`multipart::CLOSING`].
    Own(Vec<u8>),
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
    /// This picture's part, for a connection that can or cannot send shared pages.
    pub(super) fn part(self: &Arc<Self>, frame: &Frame, pages: bool) -> Part {
        if !pages || Arc::strong_count(self) < SHARE_FROM {
            return Part::Own(head(frame));
        }
        match self.page(frame) {
            Ok(page) => Part::Shared(page),
            Err(error) => {
                debug!("a picture is written for each viewer by itself: {error}");
                Part::Own(head(frame))
            }
        }
    }

    fn page(&self, frame: &Frame) -> io::Result<Arc<SharedPage>> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        // The frame is kept beside its page, so its memory cannot have become another picture's.
        let same = |(kept, _): &&(Frame, _)| {
            (kept.sequence, kept.data.as_ptr_range()) == (frame.sequence, frame.data.as_ptr_range())
        };
        if let Some((_, page)) = pages.iter().find(same) {
            return Ok(page.clone());
        }
        let page = Arc::new(SharedPage::new(&[&head(frame), &frame.data, multipart::CLOSING])?);
        pages.truncate(KEPT - 1);
        pages.push_front((frame.clone(), page.clone()));
        Ok(page)
    }
}

fn head(frame: &Frame) -> Vec<u8> {
    multipart::part_head(frame.data.len(), clock::calendar(frame.times.captured), frame.sequence)
}
