//! Access units of H.264, of the packets of an input.

use bytes::Bytes;
use ffmpeg_the_third::ffi;
use framewire_proto::h264::{self, GapDetector};

use super::{Packet, av};
use crate::error::{Result, bail, ensure};

/// Makes access units of H.264 in Annex B form of the packets of an [`Input`](super::Input): those that can be decoded, from
/// the first keyframe on. Where pictures are missing, as devices and networks lose them, it goes on at the next keyframe.
pub struct Units {
    filter: av::Filter,
    /// The newest parameter sets.
    sets: Bytes,
    gaps: Box<GapDetector>,
    standing: Standing,
}

/// Where a stream stands.
enum Standing {
    /// No keyframe has come yet.
    Before,
    /// All is there that was needed since the last keyframe.
    Whole,
    /// Not all is.
    Torn,
}

/// A picture's access unit, which begins with a start code.
pub struct Unit {
    /// In Annex B form.
    pub data: Bytes,
    /// Whether decoding can begin here.
    pub keyframe: bool,
}

impl Units {
    pub(super) fn open(parameters: &ffi::AVCodecParameters, time_base: ffi::AVRational) -> Result<Self> {
        let filter = av::Filter::open(c"h264_mp4toannexb", parameters, time_base)?;
        let sets = h264::parameter_sets(filter.extra());
        Ok(Self { filter, sets, gaps: Box::default(), standing: Standing::Before })
    }

    /// Pictures may be missing before the next packet, though their numbers need not tell.
    pub fn doubt(&mut self) {
        if matches!(self.standing, Standing::Whole) {
            self.standing = Standing::Torn;
        }
    }

    /// The access unit in this packet, with parameter sets where decoding can begin; `None` where there is none in it, and
    /// before the first keyframe.
    ///
    /// # Errors
    /// The packet is broken, or pictures are missing that it needs; the next may be good.
    pub fn unit(&mut self, mut packet: Packet) -> Result<Option<Unit>> {
        self.filter.send(&mut packet.coded)?;
        let Some(whole) = self.filter.receive()? else { return Ok(None) };
        let contents = h264::contents(whole.data());
        let keyframe = contents.is_random_access_point();
        let mut data = Bytes::from_owner(whole);
        if contents.parameter_sets {
            self.sets = h264::parameter_sets(&data);
        } else if keyframe {
            ensure!(!self.sets.is_empty(), InvalidData, "a keyframe came before any parameter sets");
            data = [&self.sets[..], &data[..]].concat().into();
        }
        let gap = self.gaps.missing_before(&data);
        if contents.picture == h264::Picture::None {
            return Ok(None);
        }
        match self.standing {
            _ if keyframe => self.standing = Standing::Whole,
            Standing::Whole if gap => self.standing = Standing::Torn,
            // It may have no keyframe any more, and heals as it goes.
            Standing::Torn if contents.gradual_refresh => self.standing = Standing::Whole,
            _ => {}
        }
        match self.standing {
            Standing::Before => Ok(None),
            Standing::Whole => Ok(Some(Unit { data, keyframe })),
            Standing::Torn => {
                bail!(InvalidData, "pictures that it needs did not come: it goes on at the next keyframe")
            }
        }
    }
}
