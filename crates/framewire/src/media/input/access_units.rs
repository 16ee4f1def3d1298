//! Demuxed packets to access units of H.264.

use bytes::Bytes;
use ffmpeg_sys_the_third as ffi;
use framewire_proto::{
    h264::{self, GapDetector},
    limits,
};

use super::packet::Packet;
use crate::error::{Result, bail, ensure, error};
use crate::media::av::{AvDecoder, AvPacket, Filter, Threads};

/// Converts the packets of an [`Input`](super::Input) to access units of H.264 in Annex B form: those that can be decoded, from
/// the first keyframe on. After frames were lost by a device or a network, the next access unit is that of a keyframe.
pub struct AccessUnits {
    filter: Filter,
    /// The newest parameter sets.
    parameter_sets: Bytes,
    /// Those whose size is known to the reader.
    told: Bytes,
    gaps: Box<GapDetector>,
    state: State,
}

/// Whether the next frame can be decoded.
enum State {
    /// Not before the first keyframe.
    BeforeKeyframe,
    /// Yes: no frame since the last keyframe is missing.
    Complete,
    /// Not before the next keyframe: a frame is missing.
    FramesMissing,
}

/// The access unit of one picture.
pub struct AccessUnit {
    /// In Annex B form: it begins with a start code.
    pub data: Bytes,
    /// Whether decoding can start here.
    pub keyframe: bool,
    /// The size of the pictures from here on, where new parameter sets may have changed it.
    pub size: Option<(u16, u16)>,
}

impl AccessUnits {
    pub(super) fn open(parameters: &ffi::AVCodecParameters, time_base: ffi::AVRational) -> Result<Self> {
        let filter = Filter::open(c"h264_mp4toannexb", parameters, time_base)?;
        let parameter_sets = h264::parameter_sets(filter.extra());
        let told = parameter_sets.clone();
        Ok(Self { filter, parameter_sets, told, gaps: Box::default(), state: State::BeforeKeyframe })
    }

    /// Assumes that frames are missing before the next packet, even where their numbers show no gap.
    pub fn assume_gap(&mut self) {
        if matches!(self.state, State::Complete) {
            self.state = State::FramesMissing;
        }
    }

    /// The access unit in a packet, with parameter sets if it is a keyframe; `None` where the packet has no picture, and before
    /// the first keyframe.
    ///
    /// # Errors
    /// The packet is broken, or needs frames that are missing. The next one may be good.
    pub fn convert(&mut self, mut packet: Packet) -> Result<Option<AccessUnit>> {
        self.filter.send(&mut packet.av)?;
        let Some(converted) = self.filter.receive()? else { return Ok(None) };
        let contents = h264::contents(converted.data());
        let keyframe = contents.is_random_access_point();
        let mut data = Bytes::from_owner(converted);
        if contents.parameter_sets {
            self.parameter_sets = h264::parameter_sets(&data);
        } else if keyframe {
            ensure!(!self.parameter_sets.is_empty(), InvalidData, "a keyframe came before any parameter sets");
            data = [&self.parameter_sets[..], &data[..]].concat().into();
        }
        let gap = self.gaps.missing_before(&data);
        if contents.picture == h264::Picture::None {
            return Ok(None);
        }
        match self.state {
            _ if keyframe => self.state = State::Complete,
            State::Complete if gap => self.state = State::FramesMissing,
            // With intra refresh there may be no further keyframe, and the picture becomes complete over the next frames.
            State::FramesMissing if contents.gradual_refresh => self.state = State::Complete,
            _ => {}
        }
        match self.state {
            State::BeforeKeyframe => Ok(None),
            State::Complete => {
                let size = if keyframe && self.told != self.parameter_sets { Some(self.size(&data)?) } else { None };
                Ok(Some(AccessUnit { data, keyframe, size }))
            }
            State::FramesMissing => {
                bail!(InvalidData, "frames that it needs are missing: H.264 resumes at the next keyframe")
            }
        }
    }

    /// The size of a keyframe's picture.
    fn size(&mut self, keyframe: &[u8]) -> Result<(u16, u16)> {
        let outcome = size(keyframe);
        match outcome {
            Ok(_) => self.told = self.parameter_sets.clone(),
            // What follows needs this keyframe.
            Err(_) => self.state = State::FramesMissing,
        }
        outcome
    }
}

fn size(keyframe: &[u8]) -> Result<(u16, u16)> {
    let mut decoder = AvDecoder::open(ffi::AVCodecID::H264, std::ptr::null(), Threads::LowDelay)?;
    let mut packet = AvPacket::new();
    packet.fill(keyframe)?;
    // The decoder knows the size after it has read the keyframe's parameter sets.
    decoder.send(Some(&packet))?;
    let (width, height) = decoder.size();
    limits::check_size(width, height).map_err(|why| error!(InvalidData, "{why}"))?;
    Ok((width as u16, height as u16))
}
