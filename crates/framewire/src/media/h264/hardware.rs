//! Finds a hardware encoder for H.264.
//!
//! FFmpeg lists encoders whose hardware may be absent, or may not do what live video needs. So each is tried, see
//! [`trial`](super::trial), on a thread of its own, one after the other, once for each size. A driver that never returns delays
//! later trials, but no video.
//!
//! Only two of FFmpeg's encoders change their bitrate while they run: NVENC, with a keyframe, and QSV from FFmpeg 6.0 on. Two
//! more take pictures from memory and are opened again for each new bitrate. VA-API and Vulkan take no pictures from memory.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        OnceLock,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

use super::{
    backend::{Backend, BackendKind},
    config::H264Config,
    trial::{BitrateChange, examine},
};
use crate::media::av::{PlaneLayout, RateControl};

/// The encoders, in the order of their trials.
static KINDS: &[BackendKind] = &[
    BackendKind {
        name: c"h264_nvenc",
        options: &[
            (c"preset", c"p4"),
            (c"tune", c"ull"),
            (c"rc", c"cbr"),
            // A first pass over a quarter of the pixels keeps frames within a buffer of one frame.
            (c"multipass", c"qres"),
            (c"delay", c"0"),
            (c"zerolatency", c"1"),
            (c"forced-idr", c"1"),
        ],
        layout: PlaneLayout::Planar,
        rate_control: RateControl::Constant,
        reopens: false,
    },
    BackendKind {
        name: c"h264_qsv",
        options: &[
            (c"preset", c"veryfast"),
            (c"async_depth", c"1"),
            (c"forced_idr", c"1"),
            (c"min_qp_i", c"18"),
            (c"min_qp_p", c"18"),
            // Without this the stream states a decoder buffer (HRD), and each new bitrate would need a new stream.
            (c"strict", c"-1"),
        ],
        layout: PlaneLayout::Nv12,
        rate_control: RateControl::Constant,
        reopens: false,
    },
    BackendKind {
        name: c"h264_v4l2m2m",
        options: &[],
        layout: PlaneLayout::Planar,
        rate_control: RateControl::Constant,
        reopens: true,
    },
    BackendKind {
        name: c"h264_videotoolbox",
        options: &[(c"realtime", c"1"), (c"prio_speed", c"1")],
        layout: PlaneLayout::Nv12,
        rate_control: RateControl::Constant,
        reopens: true,
    },
];

/// The environment variable that switches hardware off with the value `off`.
const VARIABLE: &str = "FRAMEWIRE_HARDWARE";
/// The least pixels of a picture for hardware. Smaller pictures cost libx264 next to nothing, and a trial of them shows little.
const MIN_PIXELS: u32 = 640 * 360;
/// The most searches in the queue.
const MAX_QUEUE: usize = 64;
/// The most sizes whose trials are remembered.
const MAX_SIZES: usize = 256;

/// An open hardware encoder that has passed its trial.
pub(super) struct FoundHardware {
    pub(super) backend: Backend,
    pub(super) change: BitrateChange,
}

/// The encoder for one size.
#[derive(Clone, Copy)]
struct Fit {
    kind: &'static BackendKind,
    change: BitrateChange,
}

/// A running search for a hardware encoder.
pub(super) struct Search(Receiver<FoundHardware>);

struct SearchRequest {
    config: H264Config,
    result: SyncSender<FoundHardware>,
}

impl Search {
    /// Starts a search; `None` where hardware is of no use or switched off.
    pub(super) fn start(config: H264Config) -> Option<Self> {
        static REQUESTS: OnceLock<Option<SyncSender<SearchRequest>>> = OnceLock::new();
        if config.width * config.height < MIN_PIXELS {
            return None;
        }
        let requests = REQUESTS.get_or_init(|| {
            if std::env::var_os(VARIABLE).is_some_and(|value| value == "off") {
                return None;
            }
            let (sender, requests) = mpsc::sync_channel(MAX_QUEUE);
            // If the thread cannot start, libx264 encodes.
            thread::Builder::new().name("hardware".into()).spawn(move || search(&requests)).ok().map(|_| sender)
        });
        let (result, found) = mpsc::sync_channel(1);
        requests.as_ref()?.try_send(SearchRequest { config, result }).ok().map(|()| Self(found))
    }

    /// The encoder that was found, once.
    pub(super) fn found(&self) -> Option<FoundHardware> {
        self.0.try_recv().ok()
    }

    /// A search that has found this.
    #[cfg(test)]
    pub(super) fn finished(found: FoundHardware) -> Self {
        let (result, receiver) = mpsc::sync_channel(1);
        assert!(result.send(found).is_ok());
        Self(receiver)
    }
}

/// Serves requests, one after the other.
fn search(requests: &Receiver<SearchRequest>) {
    let mut known: HashMap<(u32, u32), Option<Fit>> = HashMap::new();
    for SearchRequest { config, result } in requests {
        let size = (config.width, config.height);
        let has_room = known.len() < MAX_SIZES;
        let fit = match known.entry(size) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) if has_room => *unknown.insert(first_fit(KINDS, config)),
            Entry::Vacant(_) => None,
        };
        let Some(Fit { kind, change }) = fit else { continue };
        match Backend::open(kind, config) {
            // If the encoder that asked is gone, the hardware is closed again.
            Ok(backend) => drop(result.try_send(FoundHardware { backend, change })),
            Err(error) => tracing::debug!("libx264 continues: {error}"),
        }
    }
}

/// The first of these encoders that passes its trial.
fn first_fit(kinds: &'static [BackendKind], config: H264Config) -> Option<Fit> {
    let (width, height) = (config.width, config.height);
    kinds.iter().find_map(|kind| {
        let name = kind.name.to_string_lossy();
        match examine(kind, config) {
            Ok(change) => {
                tracing::info!("H.264 of {width}x{height} is encoded by {name}");
                Some(Fit { kind, change })
            }
            Err(error) => {
                tracing::debug!("H.264 of {width}x{height} is not encoded by {name}: {error}");
                None
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_ffmpeg_knows_the_options_of_each_hardware_encoder() {
        let config = H264Config { width: 640, height: 360, millifps: 30_000, bitrate: 1_000_000 };
        // Without the hardware, opening fails only after the options were accepted.
        for kind in KINDS {
            let refused = Backend::open(kind, config).err().map(|error| error.to_string());
            assert!(refused.as_ref().is_none_or(|why| !why.contains("refuses its option")), "{refused:?}");
        }
    }
}
