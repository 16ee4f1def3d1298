//! The rules: which side is slow, and what to try.

use serde::Serialize;

use super::figures::{AtHub, Figures, share};
use crate::{hub::ServiceInfo, latency::Stage};

/// A part of a stream's way that may be slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The source of the frames.
    Camera,
    /// The publisher's encoder.
    Encoder,
    /// The link from the publisher to the hub.
    Uplink,
    /// The hub.
    Hub,
    /// The link from the hub to this viewer.
    Downlink,
    /// The decoder of this viewer.
    Decoder,
    /// The screens of other viewers.
    Screen,
}

impl Side {
    /// The stages of a frame's way that belong to this side.
    pub(super) fn stages(self) -> &'static [Stage] {
        match self {
            Self::Camera => &[],
            Self::Encoder => &[Stage::Encode],
            Self::Uplink => &[Stage::Uplink],
            Self::Hub => &[Stage::Hub],
            Self::Downlink => &[Stage::Downlink],
            Self::Decoder => &[Stage::Decode],
            Self::Screen => &[Stage::Show],
        }
    }
}

/// A rule for one fault.
pub(super) struct Rule {
    pub(super) side: Side,
    /// By what factor the side is too slow, and a sentence that says so; `None` where this fault is absent.
    pub(super) check: fn(&Figures) -> Option<(f64, String)>,
    pub(super) advice: &'static [&'static str],
}

pub(super) const RULES: &[Rule] = &[
    Rule { side: Side::Camera, check: no_frames, advice: FEED },
    Rule { side: Side::Camera, check: stalled, advice: FEED },
    Rule { side: Side::Camera, check: camera_slow, advice: CAMERA },
    Rule { side: Side::Encoder, check: encoder_slow, advice: ENCODER },
    Rule { side: Side::Encoder, check: b_frames, advice: B_FRAMES },
    Rule { side: Side::Uplink, check: uplink_slow, advice: UPLINK },
    Rule { side: Side::Hub, check: hub_slow, advice: HUB },
    Rule { side: Side::Downlink, check: downlink_blocked, advice: DOWNLINK },
    Rule { side: Side::Downlink, check: downlink_slow, advice: DOWNLINK },
    Rule { side: Side::Decoder, check: decoder_slow, advice: DECODER },
    Rule {
        side: Side::Decoder,
        check: decoder_fails,
        advice: &["send JPEG, which every viewer decodes: --codec jpeg"],
    },
    Rule { side: Side::Screen, check: screens_slow, advice: SCREEN },
];

const FEED: &[&str] = &[
    "check that the camera is plugged in and its publisher runs: 'framewire list' shows the state of each stream",
    "start the publisher with -v to see what it waits for",
];
const CAMERA: &[&str] = &[
    "add more light, or forbid long exposures: 'v4l2-ctl -c exposure_dynamic_framerate=0'",
    "plug the camera into a USB port of its own, or ask for less: a smaller --size, or JPEG with #format=mjpeg",
    "list the camera's sizes and rates with 'framewire devices', and ask for one with --fps",
];
const ENCODER: &[&str] = &[
    "stop other programs on the sending machine, or use a faster one",
    "send a smaller --size or a lower --fps",
    "let the camera's own JPEGs pass through: --codec copy; or encode JPEG, which is faster than H.264: --codec jpeg",
];
const B_FRAMES: &[&str] = &[
    "switch B-frames off in the encoder: in the camera's settings, or with FFmpeg's '-bf 0' or '-tune zerolatency'",
    "let framewire re-encode the stream: leave '--codec copy' out",
];
const UPLINK: &[&str] = &[
    "see the link's capacity and the encoder's settings with 'framewire send … --stats text'",
    "use a network cable, or move closer to the Wi-Fi access point",
    "send a smaller --size or a lower --fps, or let framewire choose the codec: --codec auto",
];
const HUB: &[&str] = &["stop other programs on the hub's machine, or use a faster one", "send a smaller --size"];
const DOWNLINK: &[&str] = &[
    "use a network cable, or move closer to the Wi-Fi access point",
    "check what else uses this link: other streams, downloads",
    "send a smaller --size or a lower --fps, so that each frame needs less of the link",
];
const DECODER: &[&str] = &[
    "stop other programs on this machine, or use a faster one",
    "send a smaller --size or a lower --fps",
    "try the other --codec: JPEG is decoded on several processors, and H.264 needs less of the link",
];
const SCREEN: &[&str] =
    &["press the key i in 'framewire view' on those machines to see the latency split", "use smaller or fewer windows"];

/// The least frames for a judgement of the decoder: the first frame takes longer than the others.
const MIN_DECODED: u64 = 5;
/// The share of frames that may be missing without a finding.
const MAX_MISSING_SHARE: f64 = 0.1;
/// The share of the frame interval that a frame may spend on a link.
const MAX_LINK_SHARE: f64 = 0.6;
/// The share of its capacity from which a link counts as full.
const FULL_SHARE: f64 = 0.8;
/// The least share of its announced frame rate that a camera must give.
const MIN_CAMERA_SHARE: f64 = 0.85;
/// A stage of a link or hub that takes less than this, in milliseconds, is never slow.
const NEVER_SLOW_MS: f64 = 10.0;
/// The longest wait for a screen, in milliseconds.
const MAX_SHOW_MS: f64 = 50.0;

fn no_frames(figures: &Figures) -> Option<(f64, String)> {
    let published = figures.hub.as_ref().is_some_and(|hub| hub.published > 0);
    if figures.frames > 0 || published || stalled(figures).is_some() {
        return None;
    }
    let state = figures.state.as_ref().map_or(String::new(), |state| format!(": the stream is {state}"));
    let why = why(figures);
    Some((f64::INFINITY, format!("No frame arrived in {:.1} s from {}{state}{why}.", figures.seconds, figures.from)))
}

/// What the hub or the source tells of it.
fn why(figures: &Figures) -> String {
    figures.no_picture.as_ref().map_or(String::new(), |why| format!(": {}", why.trim_end_matches('.')))
}

fn stalled(figures: &Figures) -> Option<(f64, String)> {
    // The last frame before the stall may have arrived, so the number of frames does not matter.
    let stalled = figures.codec.is_some() && figures.state.as_deref() == Some("stalled");
    stalled.then(|| (f64::INFINITY, format!("{} has stalled: no more frames arrive{}.", figures.from, why(figures))))
}

fn downlink_blocked(figures: &Figures) -> Option<(f64, String)> {
    let published = figures.hub.as_ref()?.published;
    (figures.frames == 0 && published > 0).then(|| {
        let what = format!("The downlink is blocked: {published} frames reached the hub, and none arrived here.");
        (f64::INFINITY, what)
    })
}

fn camera_slow(figures: &Figures) -> Option<(f64, String)> {
    let at_hub = |hub: &AtHub| hub.published.saturating_add(hub.missed) as f64 / figures.seconds.max(0.1);
    let given = figures.camera_fps.or_else(|| figures.hub.as_ref().map(at_hub));
    let (announced, given) = figures.announced_fps.zip(given)?;
    (figures.frames > 0 && given < announced * MIN_CAMERA_SHARE).then(|| {
        let what = format!(
            "The camera is slow: it gives {given:.1} of the {announced:.1} frames per second that it announces. Cameras \
             slow down in the dark, or on a busy USB bus."
        );
        (announced / given.max(0.1), what)
    })
}

fn encoder_slow(figures: &Figures) -> Option<(f64, String)> {
    if figures.reordered {
        return None;
    }
    let encode = figures.p50(Stage::Encode)?;
    // A slow encoder can also slow the camera down, so the announced rate counts too.
    let interval = figures.announced_fps.map_or(figures.interval(), |fps| figures.interval().min(1000.0 / fps));
    let slow = encode > 2.0 * interval || encode > interval && figures.missed_share() > MAX_MISSING_SHARE;
    (slow && encode > figures.p50(Stage::Uplink).unwrap_or(0.0)).then(|| {
        let what = format!(
            "The encoder is slow: a frame is encoded {encode:.0} ms after its capture, and a new one comes every \
             {interval:.0} ms."
        );
        (encode / interval, what)
    })
}

fn b_frames(figures: &Figures) -> Option<(f64, String)> {
    let (encode, interval) = (figures.p50(Stage::Encode)?, figures.interval());
    (figures.reordered && encode > interval).then(|| {
        let what = format!(
            "The encoder uses B-frames, which wait for later frames: a frame is encoded {encode:.0} ms after its capture."
        );
        (encode / interval, what)
    })
}

fn uplink_slow(figures: &Figures) -> Option<(f64, String)> {
    let (uplink, interval) = (figures.p50(Stage::Uplink)?, figures.interval());
    let missed = figures.missed_share();
    let not_sent = missed > MAX_MISSING_SHARE && figures.p50(Stage::Encode).unwrap_or(0.0) <= interval;
    let long = uplink > NEVER_SLOW_MS.max(interval * MAX_LINK_SHARE);
    if !long && !not_sent {
        return None;
    }
    let mut parts = Vec::new();
    if long {
        parts.push(format!("a frame takes {uplink:.0} ms from the publisher to the hub"));
        parts.extend(figures.uplink_rate.map(|rate| format!("so the link carries about {}", mbit(rate))));
    }
    if not_sent {
        parts.push(format!("{:.0}% of the frames were dropped before it", missed * 100.0));
    }
    let times = (uplink / (interval * MAX_LINK_SHARE)).max(1.0 / (1.0 - missed).max(0.01));
    Some((times, format!("The uplink is slow: {}.", parts.join(", "))))
}

fn hub_slow(figures: &Figures) -> Option<(f64, String)> {
    let (hub, interval) = (figures.p50(Stage::Hub)?, figures.interval());
    // Frames also wait in the hub when the downlink is slow.
    (downlink_slow(figures).is_none() && hub > 2.0 * NEVER_SLOW_MS.max(interval / 2.0)).then(|| {
        let what = format!("The hub is slow: a frame waits {hub:.0} ms there, although the links have room.");
        (hub / interval, what)
    })
}

fn downlink_slow(figures: &Figures) -> Option<(f64, String)> {
    rendition_lowered(figures).or_else(|| frames_dropped(figures)).or_else(|| downlink_full(figures))
}

fn rendition_lowered(figures: &Figures) -> Option<(f64, String)> {
    let rendition = figures.lowered?;
    let source = figures.hub.as_ref().map_or(0.0, |hub| hub.bitrate);
    Some(match figures.least_capacity {
        Some(capacity) if source > capacity as f64 => {
            let what = format!(
                "The downlink is slow: it carries about {} of the source's {}, so the hub sends the rendition {rendition}.",
                mbit(capacity as f64),
                mbit(source)
            );
            (source / capacity.max(1) as f64, what)
        }
        _ => {
            let what = format!(
                "The downlink is slow: at times it is too slow for the source, so the hub sends the rendition {rendition}."
            );
            (1.5, what)
        }
    })
}

fn frames_dropped(figures: &Figures) -> Option<(f64, String)> {
    let ServiceInfo { delivered, dropped, .. } = figures.service.as_ref()?;
    let share = share(dropped.all_dropped(), *delivered);
    (share > MAX_MISSING_SHARE).then(|| {
        let what = format!(
            "The downlink is slow: the hub dropped {:.0}% of the frames for this viewer, because earlier frames were still \
             on the way.",
            share * 100.0
        );
        (1.0 / (1.0 - share).max(0.01), what)
    })
}

fn downlink_full(figures: &Figures) -> Option<(f64, String)> {
    let (downlink, interval) = (figures.p50(Stage::Downlink)?, figures.interval());
    let capacity = figures.service.as_ref()?.capacity? as f64;
    let long = downlink > NEVER_SLOW_MS.max(interval * MAX_LINK_SHARE);
    (long && figures.bitrate > capacity * FULL_SHARE).then(|| {
        let what = format!(
            "The downlink is slow: a frame takes {downlink:.0} ms from the hub to here, and the stream needs {} of about {}.",
            mbit(figures.bitrate),
            mbit(capacity)
        );
        (downlink / (interval * MAX_LINK_SHARE), what)
    })
}

fn decoder_slow(figures: &Figures) -> Option<(f64, String)> {
    let (decode, interval) = (figures.decode_ms?, figures.interval());
    if figures.frames < MIN_DECODED {
        return None;
    }
    let dropped = figures.dropped.all_dropped();
    let share = share(dropped, figures.frames.saturating_sub(dropped));
    (decode > interval || share > MAX_MISSING_SHARE).then(|| {
        let what = format!(
            "The decoder is slow: it takes {decode:.0} ms per frame, a new one comes every {interval:.0} ms, and {:.0}% \
             were dropped before decoding.",
            share * 100.0
        );
        ((decode / interval).max(1.0 / (1.0 - share).max(0.01)), what)
    })
}

fn decoder_fails(figures: &Figures) -> Option<(f64, String)> {
    let Figures { bad, frames, fault, .. } = figures;
    let share = share(*bad, frames.saturating_sub(*bad));
    (share > MAX_MISSING_SHARE).then(|| {
        let fault = fault.as_ref().map_or(String::new(), |fault| format!(": {fault}"));
        (1.0 / (1.0 - share).max(0.01), format!("The decoder fails: {bad} of {frames} frames are broken{fault}."))
    })
}

fn screens_slow(figures: &Figures) -> Option<(f64, String)> {
    let show = figures.hub.as_ref()?.show_ms?.p50;
    (show > MAX_SHOW_MS).then(|| {
        let what =
            format!("The screens of other viewers are slow: frames wait {show:.0} ms there before they are shown.");
        (show / MAX_SHOW_MS, what)
    })
}

/// A bitrate in words.
pub(super) fn mbit(bits: f64) -> String {
    format!("{:.1} Mbit/s", bits / 1e6)
}
