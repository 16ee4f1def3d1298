//! What was measured of a stream.

use serde::Serialize;

use crate::{
    hub::{Counts, ServiceInfo},
    latency::{Split, Stage, StageSummary},
};

/// What was measured of a stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// The address or source of the stream.
    pub from: String,
    /// The length of the measurement in seconds.
    pub seconds: f64,
    /// The hub's last report, `live`, `stalled` or `idle`, or `ended`; `None` without a report.
    pub state: Option<String>,
    /// Why there is no picture, as the hub or the source tells it; `None` while frames flow.
    pub no_picture: Option<String>,
    /// The codec of the frames; `None` before the first frame.
    pub codec: Option<&'static str>,
    /// Width in pixels, 0 before the first frame.
    pub width: u16,
    /// Height in pixels, 0 before the first frame.
    pub height: u16,
    /// Frames per second that the source announces.
    pub announced_fps: Option<f64>,
    /// Frames per second that the source really gives, including those that were dropped on the way.
    pub camera_fps: Option<f64>,
    /// Frames that arrived here.
    pub frames: u64,
    /// Frames per second that arrived here.
    pub fps: f64,
    /// Bits per second that arrived here.
    pub bitrate: f64,
    /// More than a quarter of the frames arrived after frames that are displayed later, as with B-frames.
    pub reordered: bool,
    /// The mean time to decode a frame, in milliseconds.
    pub decode_ms: Option<f64>,
    /// Frames that could not be decoded.
    pub bad: u64,
    /// Why the last of them could not be decoded.
    pub fault: Option<String>,
    /// Frames that arrived here and were dropped before decoding, by reason.
    pub dropped: Counts,
    /// Bits per second at which frames crossed the link to the hub; `None` where unknown.
    pub uplink_rate: Option<f64>,
    /// How the hub serves this viewer; `None` where the stream does not come from a hub.
    pub service: Option<ServiceInfo>,
    /// The lowest capacity of the link from the hub during the measurement, in bits per second.
    pub least_capacity: Option<u64>,
    /// `high` or `low` where the hub has sent that rendition, because the link was too slow for the source.
    pub lowered: Option<&'static str>,
    /// The hub's own figures of the stream; `None` where the hub did not report them.
    pub hub: Option<AtHub>,
    /// The latency split in milliseconds. Here it ends with decoding, because nothing is displayed.
    pub latency_ms: Split,
}

/// The hub's own figures of a stream.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct AtHub {
    /// Frames that arrived from the publisher during the measurement.
    pub published: u64,
    /// Frames that the publisher numbered but did not send during the measurement.
    pub missed: u64,
    /// Bits per second that arrive from the publisher.
    pub bitrate: f64,
    /// The number of other viewers.
    pub other_viewers: u64,
    /// How long frames wait for the screens of other viewers, in milliseconds; `None` where no viewer reports it.
    pub show_ms: Option<StageSummary>,
}

impl Figures {
    /// The median of a stage, in milliseconds.
    pub(super) fn p50(&self, stage: Stage) -> Option<f64> {
        self.latency_ms.summary(stage).map(|summary| summary.p50)
    }

    /// The source's frame interval, in milliseconds.
    pub(super) fn interval(&self) -> f64 {
        let fps = [self.camera_fps, self.announced_fps, Some(self.fps)].into_iter().flatten().find(|fps| *fps > 0.0);
        1000.0 / fps.unwrap_or(30.0)
    }

    /// The share of frames that the publisher did not send.
    pub(super) fn missed_share(&self) -> f64 {
        self.hub.as_ref().map_or(0.0, |hub| share(hub.missed, hub.published))
    }
}

/// The share of `part` in `part + rest`.
pub(super) fn share(part: u64, rest: u64) -> f64 {
    part as f64 / part.saturating_add(rest).max(1) as f64
}
