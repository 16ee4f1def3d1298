//! Demuxed packets.
#![allow(unsafe_code, reason = "FFmpeg's packets behind an owned type")]

use bytes::Bytes;
use ffmpeg_sys_the_third as ffi;
use framewire_proto::Micros;

use crate::media::av::AvPacket;

/// FFmpeg's value for an unknown time.
const UNKNOWN: i64 = i64::MIN;

/// An encoded frame of the video stream.
pub struct Packet {
    pub(super) av: AvPacket,
    /// When to display the frame (PTS), in µs on the stream's own clock.
    pub shown: Option<i64>,
    /// When to decode the frame (DTS), on the same clock. Packets come in this order.
    pub decoded: Option<i64>,
    /// For how long the frame is shown, in µs.
    pub lasts: Option<Micros>,
}

impl Packet {
    pub(super) fn new(av: AvPacket, base: ffi::AVRational) -> Self {
        let (pts, dts) = (av.fields().pts, av.fields().dts);
        let time = if pts == UNKNOWN { dts } else { pts };
        let duration = Some(av.fields().duration).filter(|duration| *duration > 0);
        let lasts = duration.and_then(|duration| micros(duration, base)?.try_into().ok());
        Self { av, shown: micros(time, base), decoded: micros(dts, base), lasts }
    }

    /// The encoded frame.
    pub fn data(&self) -> &[u8] {
        self.av.data()
    }

    /// The encoded frame, shared without a copy. Not for devices, whose memory is gone after they are closed.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.av)
    }
}

/// A time of a stream in µs; `None` when unknown.
pub(super) fn micros(time: i64, base: ffi::AVRational) -> Option<i64> {
    // SAFETY: reads only its arguments.
    (time != UNKNOWN).then(|| unsafe { ffi::av_rescale_q(time, base, ffi::AVRational { num: 1, den: 1_000_000 }) })
}
