//! Transcoding: a rendition's frames are encoded once for all viewers that take it, and only while one does.
//!
//! The hub has no codec. It knows which viewers take which rendition and what their links carry, and gives a
//! [`Transcoder`] the source's frames and a bitrate. A transcoded frame keeps its source's number, so a viewer sees
//! rising numbers in any rendition.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use framewire_proto::{Config, Frame, Name, Rendition};

use super::{rendition::TranscodeJob, stream::Stream};

/// Transcodes one rendition of a stream while it has viewers. If it is dropped before, it has failed: its viewers take
/// the source.
#[derive(Debug)]
pub struct Transcoder {
    stream: Arc<Stream>,
    rendition: Rendition,
    done: bool,
}

impl Transcoder {
    pub(super) fn new(stream: Arc<Stream>, rendition: Rendition) -> Self {
        Self { stream, rendition, done: false }
    }

    /// The stream's name.
    pub fn name(&self) -> &Name {
        self.stream.name()
    }

    /// The rendition.
    pub fn rendition(&self) -> Rendition {
        self.rendition
    }

    /// Waits for the next frame to transcode. `None`: the rendition has no viewers any more, and the work is done.
    pub async fn next(&mut self) -> Option<TranscodeJob> {
        poll_fn(|context| self.poll(context)).await
    }

    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Option<TranscodeJob>> {
        if self.done {
            return Poll::Ready(None);
        }
        let job = self.stream.lock().poll_transcoder(self.rendition, context);
        self.done = matches!(job, Poll::Ready(None));
        job
    }

    /// Delivers a transcoded frame to all viewers of the rendition.
    pub fn publish(&self, config: Config, frame: &Frame) {
        self.stream.lock().publish_transcoded(self.rendition, config, frame);
    }

    /// The source's frames cannot be decoded before a keyframe arrives.
    pub fn request_keyframe(&self) {
        self.stream.lock().request_keyframe(Rendition::Source);
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        if !self.done {
            self.stream.lock().fail_transcoder(self.rendition);
        }
    }
}
