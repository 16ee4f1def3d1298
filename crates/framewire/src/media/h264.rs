//! Pictures to H.264 for live video: each frame comes out as soon as its picture went in. libx264 encodes through FFmpeg, until a
//! hardware encoder has shown in a trial that it does as well.
//!
//! A frame may be no larger than what the link sends in one frame interval, so the encoder's VBV buffer holds one frame. x264 then
//! plans each frame by itself, keyframes too, and encodes rows again that come out too large. Measured at 1280x720 from
//! 400 kbit/s on: frames that would take more were 0.8 to 0.87 of bitrate / fps in the mean and at most 1.02, keyframes no larger.
//! With a buffer of two frames the largest was 2.2, with the usual second 4 to 12. A lower bitrate applies from the next frame
//! on. A higher one applies one frame later, because the next frame has only what the last one left in the buffer; for a larger
//! keyframe, raise the bitrate one frame ahead.
//!
//! ```text
//!   config         what an encoder is opened for, and what it gives
//!   backend        one of FFmpeg's encoders, opened for live video
//!   hardware       finds hardware encoders, beside the running encoder
//!   trial          tests whether a hardware encoder does as well as libx264
//!   bitrate_steps  limits bitrate changes where each one costs a keyframe
//! ```

mod backend;
mod bitrate_steps;
mod config;
mod hardware;
mod trial;

use framewire_proto::{Codec, limits};

use self::{
    backend::{Backend, SOFTWARE},
    bitrate_steps::BitrateSteps,
    hardware::{FoundHardware, Search},
    trial::BitrateChange,
};
use super::picture::Picture;
use crate::error::{Error, Result, ensure, error};

pub use config::{EncodedFrame, H264Config};

/// Encodes pictures of one size as one GOP without end: each frame needs those before it, back to the last keyframe. The first
/// frame is a keyframe, and later ones only where they are asked for.
pub struct H264Encoder {
    config: H264Config,
    backend: Backend,
    /// Present where a new bitrate costs a keyframe.
    steps: Option<BitrateSteps>,
    /// The search for a hardware encoder.
    search: Option<Search>,
}

impl H264Encoder {
    /// Opens libx264. A hardware encoder takes over, with a keyframe, once it has been found.
    ///
    /// # Errors
    /// The size is odd or over the limit, or this FFmpeg has no libx264.
    pub fn open(config: H264Config) -> Result<Self> {
        let H264Config { width, height, .. } = config;
        limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
        ensure!(
            width % 2 == 0 && height % 2 == 0,
            InvalidInput,
            "H.264 needs even sizes, not {width}x{height}: scale to {}x{}",
            width.next_multiple_of(2),
            height.next_multiple_of(2)
        );
        Ok(Self { config, backend: Backend::open(&SOFTWARE, config)?, steps: None, search: Search::start(config) })
    }

    /// Encodes the next picture, of [`Codec::I420`] and the size that the encoder was opened for.
    ///
    /// # Errors
    /// The picture has another size or layout. Any other error is the encoder's failure: open another.
    pub fn encode(&mut self, picture: &Picture, keyframe: bool) -> Result<EncodedFrame> {
        let H264Config { width, height, .. } = self.config;
        let given = (picture.codec(), picture.width(), picture.height());
        ensure!(
            given == (Codec::I420, width, height),
            InvalidInput,
            "this encoder takes i420 of {width}x{height}, not {} of {}x{}: open another, or convert the picture",
            given.0.name(),
            given.1,
            given.2
        );
        if let Some(FoundHardware { backend, change }) = self.search.as_ref().and_then(Search::found) {
            self.backend = backend;
            self.steps = (change == BitrateChange::Keyframe).then(BitrateSteps::default);
        }
        match self.encode_frame(picture, keyframe) {
            Err(error) if !self.backend.is(&SOFTWARE) => self.fall_back(picture, &error),
            encoded => encoded,
        }
    }

    fn encode_frame(&mut self, picture: &Picture, keyframe: bool) -> Result<EncodedFrame> {
        let bitrate = match &mut self.steps {
            Some(steps) => steps.bitrate(self.config.bitrate, keyframe),
            None => self.config.bitrate,
        };
        self.backend.set_bitrate(bitrate)?;
        self.backend.encode(picture, keyframe)
    }

    /// Replaces failed hardware by libx264, from this picture on.
    fn fall_back(&mut self, picture: &Picture, error: &Error) -> Result<EncodedFrame> {
        tracing::warn!("hardware encoder {} failed, libx264 replaces it: {error}", self.backend.name());
        (self.backend, self.steps) = (Backend::open(&SOFTWARE, self.config)?, None);
        self.encode_frame(picture, true)
    }

    /// Sets the bitrate from the next frame on: a frame takes at most about `bitrate` / fps bits, and fewer where the picture is
    /// easy. The fps are those that the encoder was opened for, whatever the pictures' real rate.
    ///
    /// With libx264 this causes no keyframe. Hardware that makes a keyframe for each new bitrate may exceed it by a fifth, and
    /// follows a higher one later.
    pub fn set_bitrate(&mut self, bitrate: u64) {
        self.config.bitrate = bitrate;
    }
}

#[cfg(test)]
mod tests;
