//! A frame, its codec, and the times at which it passed each point from camera to screen.

use bytes::Bytes;

use crate::{Orientation, PixelAspect, Presentation};

/// Microseconds on one machine's monotonic clock. Zero means "not known", so a clock that counts from its program's start
/// begins at one.
pub type Micros = u64;

/// The format of a frame's bytes. The discriminants are the numbers on the native wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// One baseline or progressive JPEG (ITU-T T.81) a frame, full-range BT.601 as in JFIF.
    Jpeg = 1,
    /// One access unit of H.264 in Annex B format (ITU-T H.264), with parameter sets before every keyframe.
    H264 = 2,
    /// Raw planes Y, U and V without padding. U and V have half the width and height, rounded up. Full-range BT.601 as in JPEG.
    I420 = 3,
    /// Raw rows of blue, green and red, one byte each, without padding: OpenCV's default.
    Bgr24 = 4,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::H264, Self::I420, Self::Bgr24];

    /// The codec with this number on the native wire.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| *codec as u8 == number)
    }

    /// Its name in statistics, JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::H264 => "h264",
            Self::I420 => "i420",
            Self::Bgr24 => "bgr24",
        }
    }

    /// Whether every frame is a keyframe: then any frame may be dropped.
    pub fn independent(self) -> bool {
        self != Self::H264
    }

    /// Bytes of one picture in a raw codec; `None` for JPEG and H.264.
    pub fn raw_length(self, width: u32, height: u32) -> Option<usize> {
        let (width, height) = (width as usize, height as usize);
        match self {
            Self::I420 => Some(width * height + 2 * width.div_ceil(2) * height.div_ceil(2)),
            Self::Bgr24 => Some(3 * width * height),
            Self::Jpeg | Self::H264 => None,
        }
    }
}

/// What a decoder needs before the first frame. It is sent again whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The format of the frames.
    pub codec: Codec,
    /// Width of the picture in pixels, 1 to 65535.
    pub width: u16,
    /// Height of the picture in pixels, 1 to 65535.
    pub height: u16,
    /// Frames per 1000 seconds; 0 if unknown or variable.
    pub millifps: u32,
    /// The codec's out-of-band data. Empty for JPEG, for raw pixels, and for H.264 with parameter sets in band.
    pub extra: Bytes,
    /// How the decoded pictures are shown. The default for all codecs but H.264: other pictures are upright and have square pixels.
    pub presentation: Presentation,
}

impl Config {
    /// Frames of this codec and size, shown as they are.
    pub const fn new(codec: Codec, width: u16, height: u16, millifps: u32) -> Self {
        let presentation = Presentation { pixel_aspect: PixelAspect::SQUARE, orientation: Orientation::UPRIGHT };
        Self { codec, width, height, millifps, extra: Bytes::new(), presentation }
    }

    /// The size in which the pictures are shown.
    pub fn shown_size(&self) -> (u16, u16) {
        let (width, height) = self.presentation.size((self.width.into(), self.height.into()));
        // It is within the limit of a side.
        (width as u16, height as u16)
    }

    /// Checks that the bytes of a raw frame are as many as this configuration says. Of a JPEG, [`crate::jpeg::admit`] tells more.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the frame.
    pub fn check(&self, data: &[u8]) -> Result<(), String> {
        let Self { codec, width, height, .. } = self;
        match codec.raw_length((*width).into(), (*height).into()) {
            Some(length) if length != data.len() => {
                Err(format!("a {width}x{height} {} frame needs {length} bytes and has {}", codec.name(), data.len()))
            }
            _ => Ok(()),
        }
    }
}

/// One encoded or raw picture with its number and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number in the stream. It rises by one for each captured frame, so a gap means dropped frames.
    pub sequence: u64,
    /// Whether decoding can start here. Always true for codecs that are [`Codec::independent`].
    pub keyframe: bool,
    /// When the frame passed each point so far.
    pub times: Times,
    /// The picture.
    pub data: Bytes,
}

/// When a frame passed each point on its way, all on one clock. Zero means "not known" or "not yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// The camera, file or screen delivered it.
    pub captured: Micros,
    /// The encoder finished it.
    pub encoded: Micros,
    /// The publisher started to send it.
    pub sent: Micros,
    /// The hub had received all of it.
    pub received: Micros,
    /// The hub started to send it to this viewer.
    pub forwarded: Micros,
    /// This program had received all of it. Not part of a frame on the wire; viewers send it in their reports.
    pub arrived: Micros,
}

impl Times {
    /// When the frame was captured. If that is unknown, when the hub received it, or else when this program did; zero if all
    /// three are unknown.
    pub fn captured_or_received(&self) -> Micros {
        [self.captured, self.received, self.arrived].into_iter().find(|time| *time > 0).unwrap_or(0)
    }

    /// Converts the times to a clock that is `offset` µs ahead of this one. Unknown times stay unknown.
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
    fn the_capture_time_falls_back_on_the_first_known_time_of_receipt() {
        let times = Times { captured: 3, encoded: 4, received: 7, arrived: 9, ..Times::default() };
        let received = Times { captured: 0, ..times };
        let arrived = Times { received: 0, ..received };
        assert_eq!(
            [times, received, arrived, Times::default()].map(|times| times.captured_or_received()),
            [3, 7, 9, 0]
        );
    }

    #[test]
    fn a_shift_changes_known_times_only() {
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
