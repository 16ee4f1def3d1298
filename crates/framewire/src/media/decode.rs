//! Frames as they travel become pictures.

use anyhow::{Context, Result};
use ffmpeg_the_third::ffi;
use framewire_proto::{Codec, Config, Frame};

use super::{
    Picture, Pool,
    av::{self, Decoded, Threads},
    colour, jpeg,
    scale::Importer,
};

/// Decodes frames of any codec, one after another.
#[derive(Default)]
pub struct Decoder {
    jpeg: jpeg::Decoder,
    h264: Option<H264>,
    pool: Pool,
}

impl Decoder {
    /// A decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// The picture of this frame as [`Codec::I420`] or [`Codec::Bgr24`]; `None` while there is none yet: H.264 before its
    /// first keyframe. Where frames depend on each other they must come in order; after a gap, from a keyframe on.
    ///
    /// # Errors
    /// The frame is broken, or its picture over the limit. The next one may be good.
    pub fn decode(&mut self, config: &Config, frame: &Frame, want: Codec) -> Result<Option<Picture>> {
        let (width, height) = (config.width.into(), config.height.into());
        let picture = match config.codec {
            Codec::Jpeg => self.jpeg.decode(&frame.data, want)?,
            Codec::I420 | Codec::Bgr24 => {
                let picture = Picture::new(config.codec, width, height, frame.data.clone())?;
                colour::convert(&picture, want, &self.pool)?
            }
            Codec::H264 => {
                if self.h264.as_ref().is_none_or(|open| open.config != *config) {
                    self.h264 = Some(H264::new(config)?);
                }
                let picture = self.h264.as_mut().map(|open| open.decode(frame)).transpose()?.flatten();
                return picture.map(|picture| colour::convert(&picture, want, &self.pool)).transpose();
            }
        };
        Ok(Some(picture))
    }
}

/// FFmpeg's decoder of H.264 in Annex B form, a frame out for each one in.
struct H264 {
    config: Config,
    decoder: av::Decoder,
    packet: av::Packet,
    import: Importer,
    begun: bool,
}

impl H264 {
    fn new(config: &Config) -> Result<Self> {
        let decoder = av::Decoder::open(ffi::AVCodecID::H264, std::ptr::null(), Threads::LowDelay)?;
        let (packet, import) = (av::Packet::new(), Importer::default());
        Ok(Self { config: config.clone(), decoder, packet, import, begun: false })
    }

    fn decode(&mut self, frame: &Frame) -> Result<Option<Picture>> {
        if !self.begun && !frame.keyframe {
            return Ok(None);
        }
        if !self.begun && !self.config.extra.is_empty() {
            // Parameter sets out of band stand before the first frame.
            let whole = [&self.config.extra[..], &frame.data].concat();
            self.packet.fill(&whole)?;
        } else {
            self.packet.fill(&frame.data)?;
        }
        self.begun = true;
        let broken = || format!("H.264 frame {}", frame.sequence);
        self.decoder.send(Some(&self.packet)).with_context(broken)?;
        let mut picture = None;
        while let Decoded::Frame(frame) = self.decoder.receive().with_context(broken)? {
            picture = Some(self.import.import(frame, false)?);
        }
        Ok(picture)
    }
}
