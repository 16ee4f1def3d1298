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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use bytes::Bytes;
    use framewire_proto::Times;

    use super::*;

    /// H.264 access units of a red picture, made by FFmpeg, parted at their access unit delimiters.
    fn h264(frames: u32) -> Vec<Bytes> {
        let source = format!("color=red:size=128x96:rate=25,trim=end_frame={frames},format=yuv420p");
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", &source, "-c:v", "libx264", "-tune", "zerolatency"])
            .args(["-bsf:v", "h264_metadata=aud=insert", "-f", "h264", "-"])
            .output()
            .expect("the command ffmpeg");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let delimiter = [0, 0, 0, 1, 9];
        let starts = output.stdout.windows(5).enumerate().filter(|(_, bytes)| *bytes == delimiter);
        let mut starts: Vec<usize> = starts.map(|(place, _)| place).collect();
        starts.push(output.stdout.len());
        starts.windows(2).map(|unit| Bytes::copy_from_slice(&output.stdout[unit[0]..unit[1]])).collect()
    }

    fn frame(sequence: u64, data: &Bytes) -> Frame {
        Frame { sequence, keyframe: sequence == 0, times: Times::default(), data: data.clone() }
    }

    const CONFIG: Config = Config { codec: Codec::H264, width: 128, height: 96, millifps: 0, extra: Bytes::new() };

    #[test]
    fn each_h264_frame_gives_its_picture_at_once() {
        let units = h264(5);
        assert_eq!(units.len(), 5);
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(&CONFIG, &frame(3, &units[3]), Codec::Bgr24).unwrap(), None);
        for (number, unit) in units.iter().enumerate() {
            let picture = decoder.decode(&CONFIG, &frame(number as u64, unit), Codec::Bgr24).unwrap().unwrap();
            assert_eq!((picture.width(), picture.height()), (128, 96));
            let off = picture.data().chunks_exact(3).map(|bgr| bgr[0].max(bgr[1]).max(255 - bgr[2])).max().unwrap();
            assert!(off <= 3, "{off} off");
        }
    }

    #[test]
    fn random_bytes_are_an_error_and_the_next_keyframe_is_fine() {
        let units = h264(1);
        let mut decoder = Decoder::new();
        let noise: Vec<u8> = (0..5000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert!(decoder.decode(&CONFIG, &frame(0, &noise.into()), Codec::I420).is_err());
        assert!(decoder.decode(&CONFIG, &frame(0, &Bytes::new()), Codec::I420).is_err());
        assert!(decoder.decode(&CONFIG, &frame(0, &units[0]), Codec::I420).unwrap().is_some());
    }
}
