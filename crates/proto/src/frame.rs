//! A frame, what it is coded in, and the times it carries from birth to screen.

use bytes::Bytes;

use crate::{jpeg, limits};

/// Microseconds on some machine's monotonic clock. Zero stands for "not known"; a clock that counts from its
/// program's start begins at one.
pub type Micros = u64;

/// What a frame's bytes are coded in. The discriminants are those of the native wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// One baseline or progressive JPEG (ITU-T T.81) a frame, full-range BT.601 as JFIF has it.
    Jpeg = 1,
    /// One access unit of H.264 in Annex B form (ITU-T H.264), parameter sets in band at every keyframe.
    H264 = 2,
    /// Pixels as they are: a full plane of Y, then U and V at half the width and height (rounded up), rows without padding,
    /// full-range BT.601 like JPEG's.
    I420 = 3,
    /// Pixels as they are: rows of blue, green, red, one byte each, without padding, as OpenCV has them.
    Bgr24 = 4,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::H264, Self::I420, Self::Bgr24];

    /// The codec with this number on the native wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| *codec as u8 == number)
    }

    /// The word for it in statistics, JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::H264 => "h264",
            Self::I420 => "i420",
            Self::Bgr24 => "bgr24",
        }
    }

    /// Whether each frame can be decoded without the one before it, so that any frame may be skipped.
    pub fn independent(self) -> bool {
        self != Self::H264
    }

    /// Bytes of one picture where the codec is plain pixels; `None` where it compresses.
    pub fn raw_length(self, width: u32, height: u32) -> Option<usize> {
        let (width, height) = (width as usize, height as usize);
        match self {
            Self::I420 => Some(width * height + 2 * width.div_ceil(2) * height.div_ceil(2)),
            Self::Bgr24 => Some(3 * width * height),
            Self::Jpeg | Self::H264 => None,
        }
    }
}

/// What a decoder must know before the first frame, sent again whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the frames are coded in.
    pub codec: Codec,
    /// Width of the picture in pixels, 1 to 65535.
    pub width: u16,
    /// Height of the picture in pixels, 1 to 65535.
    pub height: u16,
    /// Frames per second in thousandths; 0 when it is not known or not constant.
    pub millifps: u32,
    /// What the codec needs out of band; empty for JPEG and for H.264 with parameter sets in band.
    pub extra: Bytes,
}

impl Config {
    /// Checks that a frame with these bytes is what this configuration says. A JPEG's own size replaces the announced one.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the frame.
    pub fn check(&mut self, data: &[u8]) -> Result<(), String> {
        if self.codec == Codec::Jpeg {
            let (width, height) = jpeg::size(data).map_err(|error| error.to_string())?;
            limits::check_size(width.into(), height.into())?;
            (self.width, self.height) = (width, height);
        }
        let Self { codec, width, height, .. } = self;
        match codec.raw_length((*width).into(), (*height).into()) {
            Some(length) if length != data.len() => {
                Err(format!("{width}x{height} {} has {length} bytes, {} came", codec.name(), data.len()))
            }
            _ => Ok(()),
        }
    }
}

/// One picture as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number within the stream: rises by one for each frame captured, so a gap is a frame dropped on the way.
    pub sequence: u64,
    /// Whether decoding can begin here. True of every frame whose codec is independent.
    pub keyframe: bool,
    /// When it passed each station so far.
    pub times: Times,
    /// The coded picture.
    pub data: Bytes,
}

/// When a frame passed each station on its way, all on one clock; zero where that is not known (yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// The camera, file or screen gave it.
    pub captured: Micros,
    /// The encoder was done with it.
    pub encoded: Micros,
    /// The publisher began to write it.
    pub sent: Micros,
    /// The hub had its last byte.
    pub received: Micros,
    /// The hub began to write it to this viewer.
    pub forwarded: Micros,
    /// This program had its last byte. Not sent on: a receiver tells it in its report.
    pub arrived: Micros,
}

impl Times {
    /// When the frame was born, as far as that is known: when it was captured, or else when the hub, or this program, had it;
    /// zero where none of these is.
    pub fn captured_or_received(&self) -> Micros {
        [self.captured, self.received, self.arrived].into_iter().find(|time| *time > 0).unwrap_or(0)
    }

    /// The same moments on another clock, which shows `offset` more than this one.
    #[must_use]
    pub fn shifted(self, offset: i64) -> Self {
        let shift = |time: Micros| match time {
            0 => 0,
            known => known.saturating_add_signed(offset).max(1),
        };
        Self {
            captured: shift(self.captured),
            encoded: shift(self.encoded),
            sent: shift(self.sent),
            received: shift(self.received),
            forwarded: shift(self.forwarded),
            arrived: shift(self.arrived),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_was_born_when_it_was_captured_or_came_first() {
        let times = Times { captured: 3, encoded: 4, received: 7, arrived: 9, ..Times::default() };
        let received = Times { captured: 0, ..times };
        let arrived = Times { received: 0, ..received };
        assert_eq!(
            [times, received, arrived, Times::default()].map(|times| times.captured_or_received()),
            [3, 7, 9, 0]
        );
    }

    #[test]
    fn a_shift_moves_what_is_known_and_leaves_what_is_not() {
        let times = Times { captured: 10, received: 500, ..Times::default() };
        let shifted = times.shifted(-100);
        assert_eq!(shifted, Times { captured: 1, received: 400, ..Times::default() });
        assert_eq!(shifted.sent, 0);
    }

    #[test]
    fn codecs_keep_their_numbers() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_number(codec as u8), Some(codec));
        }
        assert_eq!(Codec::from_number(0), None);
    }
}
