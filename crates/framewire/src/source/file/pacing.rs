//! When a film's frames are returned, and those of what is live.

use std::time::{Duration, Instant};

use framewire_proto::Micros;

use super::{
    OpenFile, Options,
    timing::{DEFAULT_INTERVAL, Speed, Steps, Timeline, Timing},
};
use crate::{clock, media::input::Video, source::pace::Pace, stop::Stop};

/// When frames are returned.
pub(super) enum Pacing {
    /// At once.
    Unpaced,
    /// At a constant rate, in frames per second.
    Constant(Pace, f64),
    /// At their display times.
    Display(Timeline),
    /// At their decoding times: H.264 passthrough.
    Decoding(Timing),
}

impl Pacing {
    pub(super) fn new(options: &Options, video: &Video, url: bool, units: bool) -> Self {
        // Live frames are not delayed, because they arrive at their own rate. HLS and DASH segments arrive in bursts, however.
        let live = url && !video.is_finite() && !["hls", "dash"].iter().any(|name| video.format.contains(name));
        let steps = if url && !video.is_finite() { Steps::of_live() } else { Steps::of_film(video.length) };
        if units {
            let own = video.fps.unwrap_or(1.0 / DEFAULT_INTERVAL.as_secs_f64());
            let speed = match options.fps {
                _ if live => Speed::Arrival,
                None => Speed::Times(1.0),
                Some(fps) if fps > 0.0 => Speed::Times(fps / own),
                Some(_) => Speed::Unpaced,
            };
            return Self::Decoding(Timing::new(speed, steps));
        }
        match options.fps {
            // Frames of what is live that are too many are left out, for delayed they would be ever older.
            _ if live => Self::Unpaced,
            Some(fps) => Pace::new(fps).map_or(Self::Unpaced, |pace| Self::Constant(pace, fps)),
            None => Self::Display(Timeline::new(steps)),
        }
    }

    /// Takes over what reading ahead has shown.
    pub(super) fn start(&mut self, open: &OpenFile) {
        if let Self::Decoding(timing) = self {
            timing.set_reorder_delay(open.reorder_delay);
            timing.set_buffered(open.buffered);
        }
    }

    /// Waits until a frame is due. Returns whether the stop was raised.
    pub(super) fn wait(&mut self, shown: Option<i64>, usual: Duration, stop: &Stop) -> bool {
        match self {
            Self::Unpaced | Self::Decoding(_) => stop.stopped(),
            Self::Constant(pace, _) => pace.wait(stop),
            Self::Display(timeline) => {
                let now = Instant::now();
                stop.wait(timeline.due(shown, usual, now).saturating_duration_since(now))
            }
        }
    }

    /// Waits until the last frame, which is shown for this long, is over. Returns whether the stop was raised.
    pub(super) fn wait_for_end(&mut self, lasts: Micros, stop: &Stop) -> bool {
        let wait = match self {
            Self::Unpaced | Self::Constant(..) => None,
            Self::Display(timeline) => {
                timeline.end(Duration::from_micros(lasts)).map(|end| end.saturating_duration_since(Instant::now()))
            }
            Self::Decoding(timing) => {
                timing.end(lasts).map(|end| Duration::from_micros(end.saturating_sub(clock::now())))
            }
        };
        wait.map_or_else(|| stop.stopped(), |wait| stop.wait(wait))
    }

    pub(super) fn fps(&self, video: &Video) -> Option<f64> {
        match self {
            Self::Constant(_, fps) => Some(*fps),
            Self::Decoding(timing) => video.fps.map(|fps| fps * timing.speed()),
            Self::Unpaced | Self::Display(_) => video.fps,
        }
    }
}

/// The usual frame interval.
pub(super) fn interval(video: &Video) -> Duration {
    video.fps.map_or(DEFAULT_INTERVAL, |fps| Duration::from_secs_f64(1.0 / fps))
}
