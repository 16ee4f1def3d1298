//! Where a stream's time goes, and which side of its way is slow: figures in, findings out. No I/O, no clock.
//!
//! What is looked for are the rows of [`RULES`]; each says by how many times its side is too slow, and the worst is the
//! verdict.

use std::fmt;

use serde::Serialize;

use crate::{
    hub::{Counts, ServiceInfo, drops_in_words},
    latency::{Split, Stage, Summary},
};

/// What was measured of a stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// What was watched.
    pub from: String,
    /// For how long, in seconds.
    pub seconds: f64,
    /// `live`, `stalled` or `idle` as its hub said last, or `ended`; `None` where nothing was said.
    pub state: Option<String>,
    /// What its frames are coded in; `None` before the first.
    pub codec: Option<&'static str>,
    /// Width in pixels, 0 before the first.
    pub width: u16,
    /// Height in pixels, 0 before the first.
    pub height: u16,
    /// Frames a second that the source announces.
    pub announced_fps: Option<f64>,
    /// Frames a second that the source really gives, those included that were dropped on the way.
    pub camera_fps: Option<f64>,
    /// Frames that came here.
    pub frames: u64,
    /// Frames a second that came here.
    pub fps: f64,
    /// Bits a second that came here.
    pub bitrate: f64,
    /// More than a quarter of the frames came after ones that are shown later, as B-frames make it.
    pub reordered: bool,
    /// Milliseconds that decoding a frame takes by itself, in the mean.
    pub decode_ms: Option<f64>,
    /// Frames that could not be decoded.
    pub bad: u64,
    /// Why the last of them could not.
    pub fault: Option<String>,
    /// Frames that came here and were not decoded, by reason.
    pub dropped: Counts,
    /// Bits a second with which frames crossed the link to the hub; `None` where that is not known.
    pub uplink_rate: Option<f64>,
    /// How the hub serves this viewer; `None` where the stream comes from none.
    pub service: Option<ServiceInfo>,
    /// Bits a second that the link from the hub was believed to carry at the least meanwhile.
    pub least_capacity: Option<u64>,
    /// `high` or `low`, where the hub has sent that for the link's sake meanwhile.
    pub lowered: Option<&'static str>,
    /// What the hub itself knows of the stream, where it could be asked.
    pub hub: Option<AtHub>,
    /// The latency split in milliseconds; of what shows nothing it ends with decoding.
    pub latency_ms: Split,
}

/// A stream as its hub sees it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct AtHub {
    /// Frames that came from the publisher meanwhile.
    pub published: u64,
    /// Frames that the publisher numbered and left out meanwhile.
    pub missed: u64,
    /// Bits a second that come from the publisher.
    pub bitrate: f64,
    /// How many watch besides.
    pub other_viewers: u64,
    /// How long pictures wait for the screens of other viewers, in milliseconds; `None` where none has said.
    pub show_ms: Option<Summary>,
}

/// A part of a stream's way that may be slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Where pictures are born.
    Camera,
    /// What codes them for the way.
    Encoder,
    /// The link from the publisher to the hub.
    Uplink,
    /// The hub.
    Hub,
    /// The link from the hub to here.
    Downlink,
    /// What decodes them here.
    Decoder,
    /// What shows them.
    Screen,
}

/// Something that is slow or broken.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Where.
    pub side: Side,
    /// What, in a sentence.
    pub what: String,
    /// What to try, the most promising first.
    #[serde(rename = "try")]
    pub advice: &'static [&'static str],
    /// How many times too slow it is.
    #[serde(skip)]
    pub times: f64,
}

/// What the doctor says.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What is slow, or that nothing is, in a sentence.
    pub verdict: String,
    /// The side that is slow; `None`: none is.
    pub slow: Option<Side>,
    /// All that was found, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be told, in sentences.
    pub not_known: Vec<String>,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One thing that is looked for: by how many times a side is too slow, and that in a sentence.
struct Rule {
    side: Side,
    look: fn(&Figures) -> Option<(f64, String)>,
    advice: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule { side: Side::Camera, look: silent, advice: FEED },
    Rule { side: Side::Camera, look: stalled, advice: FEED },
    Rule { side: Side::Camera, look: few_born, advice: CAMERA },
    Rule { side: Side::Encoder, look: coded_late, advice: ENCODER },
    Rule { side: Side::Encoder, look: coded_in_another_order, advice: B_FRAMES },
    Rule { side: Side::Uplink, look: uplink_narrow, advice: UPLINK },
    Rule { side: Side::Hub, look: hub_waits, advice: HUB },
    Rule { side: Side::Downlink, look: held_up, advice: DOWNLINK },
    Rule { side: Side::Downlink, look: downlink_narrow, advice: DOWNLINK },
    Rule { side: Side::Decoder, look: decoded_late, advice: DECODER },
    Rule { side: Side::Decoder, look: undecodable, advice: &["send it with --codec jpeg, which every decoder takes"] },
    Rule { side: Side::Screen, look: shown_late, advice: SCREEN },
];

const FEED: &[&str] = &[
    "see whether the camera is plugged in and its publisher runs: `framewire list` shows each stream's state",
    "start what feeds it with -v, which says what it waits for",
];
const CAMERA: &[&str] = &[
    "give it more light, or forbid long exposures: `v4l2-ctl -c exposure_dynamic_framerate=0`",
    "take it off a shared USB hub, or ask for less: a smaller --size, or JPEGs with #format=mjpeg",
    "`framewire devices` lists the sizes and rates that it has; --fps asks for one",
];
const ENCODER: &[&str] = &[
    "let the sending machine do less besides, or use a faster one",
    "ask for a smaller --size or a lower --fps",
    "pass the camera's own JPEGs on: --codec copy; making JPEGs costs less than H.264: --codec jpeg",
];
const B_FRAMES: &[&str] = &[
    "switch B-frames off where it is coded: in the camera's own settings, or FFmpeg's `-bf 0` or `-tune zerolatency`",
    "have framewire code it anew: leave `--codec copy` out",
];
const UPLINK: &[&str] = &[
    "`framewire send … --stats text` says what the link carries and what is coded for it",
    "use a cable, or get nearer to the Wi-Fi's access point",
    "ask for a smaller --size or a lower --fps, or leave the codec to framewire: --codec auto",
];
const HUB: &[&str] = &["let the hub's machine do less besides, or use a faster one", "ask for a smaller --size"];
const DOWNLINK: &[&str] = &[
    "use a cable, or get nearer to the Wi-Fi's access point",
    "see who else uses this link: other streams, downloads",
    "send a smaller --size or a lower --fps, so that more of each picture gets through",
];
const DECODER: &[&str] = &[
    "let this machine do less besides, or use a faster one",
    "send a smaller --size or a lower --fps",
    "JPEG is decoded in strips side by side, H.264 takes less of a link: try the other --codec",
];
const SCREEN: &[&str] = &["`framewire view` with the key i shows there what waits", "use a smaller window, or fewer"];

/// Fewer frames tell nothing of how long decoding takes: the first takes longer.
const FEW: u64 = 5;
/// A share of frames that may be missing without a word.
const BEARABLE: f64 = 0.1;
/// What a way may take of the time between two frames, and what of a link's capacity, before it is full.
const WAY: f64 = 0.6;
const FULL: f64 = 0.8;
/// The least share of what it announces that a camera must give.
const ANNOUNCED: f64 = 0.85;
/// What is shorter is never slow, in milliseconds; and what a screen may take.
const SHORT: f64 = 10.0;
const SHOW: f64 = 50.0;

/// What is to be said of these figures.
pub fn examine(figures: Figures) -> Report {
    let found = |rule: &Rule| {
        let (times, what) = (rule.look)(&figures)?;
        Some(Finding { side: rule.side, what, advice: rule.advice, times })
    };
    let mut findings: Vec<Finding> = RULES.iter().filter_map(found).collect();
    findings.sort_by(|one, other| other.times.total_cmp(&one.times));
    let worst = findings.first();
    let verdict = worst.map_or_else(|| figures.healthy(), |finding| finding.what.clone());
    Report { verdict, slow: worst.map(|finding| finding.side), not_known: figures.not_known(), findings, figures }
}

fn silent(figures: &Figures) -> Option<(f64, String)> {
    let fed = figures.hub.as_ref().is_some_and(|hub| hub.published > 0);
    if figures.frames > 0 || fed || stalled(figures).is_some() {
        return None;
    }
    let state = figures.state.as_ref().map_or(String::new(), |state| format!(": it is {state}"));
    Some((f64::INFINITY, format!("No picture came in {:.1} s from {}{state}.", figures.seconds, figures.from)))
}

fn stalled(figures: &Figures) -> Option<(f64, String)> {
    // What was there before may still have come.
    let stalled = figures.codec.is_some() && figures.state.as_deref() == Some("stalled");
    stalled.then(|| (f64::INFINITY, format!("{} has stalled: no picture comes any more.", figures.from)))
}

fn held_up(figures: &Figures) -> Option<(f64, String)> {
    let published = figures.hub.as_ref()?.published;
    (figures.frames == 0 && published > 0).then(|| {
        let what = format!("The downlink is blocked: {published} pictures came into the hub and none of them here.");
        (f64::INFINITY, what)
    })
}

fn few_born(figures: &Figures) -> Option<(f64, String)> {
    let at_hub = |hub: &AtHub| hub.published.saturating_add(hub.missed) as f64 / figures.seconds.max(0.1);
    let born = figures.camera_fps.or_else(|| figures.hub.as_ref().map(at_hub));
    let (announced, born) = figures.announced_fps.zip(born)?;
    (figures.frames > 0 && born < announced * ANNOUNCED).then(|| {
        let what = format!(
            "The camera is slow: it gives {born:.1} frames a second of the {announced:.1} it announces, as cameras do \
             in the dark or on a crowded USB bus."
        );
        (announced / born.max(0.1), what)
    })
}

fn coded_late(figures: &Figures) -> Option<(f64, String)> {
    if figures.reordered {
        return None;
    }
    let encode = figures.p50(Stage::Encode)?;
    // Where coding keeps the camera from its work, fewer frames come than could.
    let interval = figures.announced_fps.map_or(figures.interval(), |fps| figures.interval().min(1000.0 / fps));
    let left_out = figures.left_out();
    let late = encode > 2.0 * interval || encode > interval && left_out > BEARABLE;
    (late && encode > figures.p50(Stage::Uplink).unwrap_or(0.0)).then(|| {
        let what = format!(
            "The encoder is slow: a frame is coded {encode:.0} ms after it was captured, and every {interval:.0} ms \
             comes another."
        );
        (encode / interval, what)
    })
}

fn coded_in_another_order(figures: &Figures) -> Option<(f64, String)> {
    let (encode, interval) = (figures.p50(Stage::Encode)?, figures.interval());
    (figures.reordered && encode > interval).then(|| {
        let what = format!(
            "The encoder uses B-frames: they wait for pictures that are shown after them, so frames come {encode:.0} ms \
             after they were captured."
        );
        (encode / interval, what)
    })
}

fn uplink_narrow(figures: &Figures) -> Option<(f64, String)> {
    let (uplink, interval) = (figures.p50(Stage::Uplink)?, figures.interval());
    let kept_back = figures.left_out() > BEARABLE && figures.p50(Stage::Encode).unwrap_or(0.0) <= interval;
    let long = uplink > SHORT.max(interval * WAY);
    if !long && !kept_back {
        return None;
    }
    let mut parts = Vec::new();
    if long {
        parts.push(format!("a frame takes {uplink:.0} ms from the publisher to the hub"));
        parts.extend(figures.uplink_rate.map(|rate| format!("so the link carries about {}", mbit(rate))));
    }
    if kept_back {
        parts.push(format!("{:.0}% of the frames were left out before it", figures.left_out() * 100.0));
    }
    let times = (uplink / (interval * WAY)).max(1.0 / (1.0 - figures.left_out()).max(0.01));
    Some((times, format!("The uplink is slow: {}.", parts.join(", "))))
}

fn hub_waits(figures: &Figures) -> Option<(f64, String)> {
    let (hub, interval) = (figures.p50(Stage::Hub)?, figures.interval());
    // What a link holds up waits in the hub.
    (downlink_narrow(figures).is_none() && hub > 2.0 * SHORT.max(interval / 2.0)).then(|| {
        let what = format!("The hub is slow: a frame waits {hub:.0} ms there, though the links carry what is sent.");
        (hub / interval, what)
    })
}

fn downlink_narrow(figures: &Figures) -> Option<(f64, String)> {
    rendition_lowered(figures).or_else(|| not_sent(figures)).or_else(|| downlink_full(figures))
}

fn rendition_lowered(figures: &Figures) -> Option<(f64, String)> {
    let rendition = figures.lowered?;
    let source = figures.hub.as_ref().map_or(0.0, |hub| hub.bitrate);
    Some(match figures.least_capacity {
        Some(capacity) if source > capacity as f64 => {
            let what = format!(
                "The downlink is slow: it carries about {} of the {} that the source takes, so the hub sends the \
                 rendition {rendition}.",
                mbit(capacity as f64),
                mbit(source)
            );
            (source / capacity.max(1) as f64, what)
        }
        _ => {
            let what = format!(
                "The downlink is slow: it does not carry the source all the time, so the hub sends the rendition \
                 {rendition}."
            );
            (1.5, what)
        }
    })
}

fn not_sent(figures: &Figures) -> Option<(f64, String)> {
    let ServiceInfo { delivered, dropped, .. } = figures.service.as_ref()?;
    let share = share(dropped.all_dropped(), *delivered);
    (share > BEARABLE).then(|| {
        let what = format!(
            "The downlink is slow: the hub had to drop {:.0}% of the frames for this viewer, since those before were \
             not through yet.",
            share * 100.0
        );
        (1.0 / (1.0 - share).max(0.01), what)
    })
}

fn downlink_full(figures: &Figures) -> Option<(f64, String)> {
    let (downlink, interval) = (figures.p50(Stage::Downlink)?, figures.interval());
    let capacity = figures.service.as_ref()?.capacity? as f64;
    (downlink > SHORT.max(interval * WAY) && figures.bitrate > capacity * FULL).then(|| {
        let what = format!(
            "The downlink is slow: a frame takes {downlink:.0} ms from the hub to here, and {} go over a link that \
             carries about {}.",
            mbit(figures.bitrate),
            mbit(capacity)
        );
        (downlink / (interval * WAY), what)
    })
}

fn decoded_late(figures: &Figures) -> Option<(f64, String)> {
    let (decode, interval) = (figures.decode_ms?, figures.interval());
    if figures.frames < FEW {
        return None;
    }
    let skipped = figures.dropped.all_dropped();
    let share = share(skipped, figures.frames.saturating_sub(skipped));
    (decode > interval || share > BEARABLE).then(|| {
        let what = format!(
            "The decoder is slow: it takes {decode:.0} ms for a frame, every {interval:.0} ms comes another, and \
             {:.0}% were skipped before they were decoded.",
            share * 100.0
        );
        ((decode / interval).max(1.0 / (1.0 - share).max(0.01)), what)
    })
}

fn undecodable(figures: &Figures) -> Option<(f64, String)> {
    let Figures { bad, frames, fault, .. } = figures;
    let share = share(*bad, frames.saturating_sub(*bad));
    (share > BEARABLE).then(|| {
        let fault = fault.as_ref().map_or(String::new(), |fault| format!(": {fault}"));
        (1.0 / (1.0 - share).max(0.01), format!("The decoder fails: {bad} of {frames} frames are broken{fault}."))
    })
}

fn shown_late(figures: &Figures) -> Option<(f64, String)> {
    let show = figures.hub.as_ref()?.show_ms?.p50;
    (show > SHOW).then(|| {
        let what =
            format!("The screens of other viewers are slow: pictures wait {show:.0} ms there until they are shown.");
        (show / SHOW, what)
    })
}

impl Figures {
    /// That nothing is slow, and where the time goes.
    fn healthy(&self) -> String {
        format!("Nothing is slow: {:.1} pictures a second. {}", self.fps, self.way())
    }

    /// Where the time goes, in a sentence.
    fn way(&self) -> String {
        let Some(total) = self.latency_ms.summary(Stage::Total) else {
            return "How old they are is not known.".into();
        };
        let parts = self.latency_ms.summaries().filter(|(stage, _)| *stage != Stage::Total);
        let longest = parts.max_by(|(_, one), (_, other)| one.p50.total_cmp(&other.p50));
        let longest = longest.map_or(String::new(), |(stage, part)| {
            format!("; the longest part of that is {}, {:.1} ms", stage.name(), part.p50)
        });
        format!("Half of the pictures are at most {:.1} ms old when they are decoded{longest}.", total.p50)
    }

    fn not_known(&self) -> Vec<String> {
        let mut unknown = Vec::new();
        if self.frames > 0 && self.p50(Stage::Total).is_none() {
            unknown.push("How old pictures are: their source does not say when they were captured, or its clock and this one have not been compared.".into());
        }
        if self.hub.as_ref().is_none_or(|hub| hub.show_ms.is_none()) {
            unknown.push(
                "How long the screen takes: the doctor shows nothing, and no other viewer has told the hub.".into(),
            );
        }
        unknown
    }

    /// Half of the frames took at most this many milliseconds.
    fn p50(&self, stage: Stage) -> Option<f64> {
        self.latency_ms.summary(stage).map(|summary| summary.p50)
    }

    /// Milliseconds from one frame to the next, as the source gives them.
    fn interval(&self) -> f64 {
        let fps = [self.camera_fps, self.announced_fps, Some(self.fps)].into_iter().flatten().find(|fps| *fps > 0.0);
        1000.0 / fps.unwrap_or(30.0)
    }

    /// The share of frames that the publisher left out.
    fn left_out(&self) -> f64 {
        self.hub.as_ref().map_or(0.0, |hub| share(hub.missed, hub.published))
    }
}

/// What share these are, beside the others.
fn share(these: u64, others: u64) -> f64 {
    these as f64 / these.saturating_add(others).max(1) as f64
}

fn mbit(bits: f64) -> String {
    format!("{:.1} Mbit/s", bits / 1e6)
}

impl Side {
    /// The stages of a frame's way that belong to it.
    fn stages(self) -> &'static [Stage] {
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

/// For a person: the verdict, the figures, and what to try.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, findings, not_known, figures, .. } = self;
        writeln!(out, "{verdict}")?;
        if self.slow.is_some() && figures.frames > 0 {
            writeln!(out, "{}", figures.way())?;
        }
        for finding in findings.iter().skip(1) {
            writeln!(out, "Besides: {}", finding.what)?;
        }
        writeln!(out)?;
        self.rates(out)?;
        self.stages(out)?;
        for unknown in not_known {
            writeln!(out, "Not known: {unknown}")?;
        }
        if findings.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nWhat to try:")?;
        let mut said = Vec::new();
        for advice in findings.iter().flat_map(|finding| finding.advice) {
            if !said.contains(advice) {
                writeln!(out, "- {advice}")?;
                said.push(*advice);
            }
        }
        Ok(())
    }
}

impl Report {
    fn rates(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { from, seconds, state, codec, width, height, frames, fps, bitrate, .. } = &self.figures;
        let state = state.as_deref().unwrap_or("watched");
        if *frames == 0 {
            writeln!(out, "{from}: {state}, no frames in {seconds:.1} s")?;
        } else {
            let codec = codec.unwrap_or("of no codec");
            writeln!(out, "{from}: {state}, {width}x{height} {codec}, {frames} frames in {seconds:.1} s")?;
            let known = |fps: Option<f64>| fps.map_or("not known".into(), |fps| format!("{fps:.1}"));
            let (born, announced) = (known(self.figures.camera_fps), known(self.figures.announced_fps));
            let rate = mbit(*bitrate);
            writeln!(out, "frames a second: camera {born} (announced {announced}), here {fps:.1}, {rate}")?;
        }
        if let Some(AtHub { published, missed, bitrate, other_viewers, .. }) = &self.figures.hub {
            let rate = mbit(*bitrate);
            writeln!(
                out,
                "into the hub: {published} frames, {missed} left out before it, {rate}; {other_viewers} other viewers"
            )?;
        }
        if let Some(ServiceInfo { rendition, capacity, dropped, .. }) = &self.figures.service {
            let least = self.figures.least_capacity.filter(|least| Some(*least) < *capacity);
            let least = least.map_or(String::new(), |least| format!(" (at the least {})", mbit(least as f64)));
            let capacity = capacity.map_or("not known".into(), |capacity| mbit(capacity as f64));
            writeln!(out, "rendition {rendition}, capacity of the downlink {capacity}{least}")?;
            writeln!(out, "dropped by the hub: {}", drops_in_words(dropped.by_reason()))?;
        }
        let here = self.figures.dropped.by_reason().into_iter().chain([("bad", self.figures.bad)]);
        writeln!(out, "dropped here: {}", drops_in_words(here))
    }

    fn stages(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slow = |stage| self.findings.iter().any(|finding| finding.side.stages().contains(&stage));
        for (place, (stage, Summary { p50, p95, max, .. })) in self.figures.latency_ms.summaries().enumerate() {
            if place == 0 {
                writeln!(out, "\nlatency, ms      p50     p95     max")?;
            }
            let mark = if stage == Stage::Total { "= " } else { "  " };
            let slow = if slow(stage) { "  slow" } else { "" };
            writeln!(out, "{mark}{:10}{p50:8.1}{p95:8.1}{max:8.1}{slow}", stage.name())?;
        }
        if let Some(Summary { p50, p95, max, .. }) = self.figures.hub.as_ref().and_then(|hub| hub.show_ms) {
            writeln!(out, "  show      {p50:8.1}{p95:8.1}{max:8.1}  at the hub's other viewers")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use framewire_proto::{
        Rendition, Times,
        wire::native::{Report as Receipt, Service},
    };

    use super::*;

    /// Frames that took so many milliseconds at each stage, from encoding to decoding.
    fn split(stages: [u64; 6]) -> Split {
        let mut at = 1_000_000;
        let [encoded, sent, received, forwarded, arrived, decoded] = stages.map(|ms| {
            at += ms * 1000;
            at
        });
        let times = Times { captured: 1_000_000, encoded, sent, received, forwarded, arrived };
        let receipt = Receipt { sequence: 1, received: arrived, decoded, shown: 0 };
        let mut split = Split::default();
        split.take_arrival(&times);
        split.take_delivery(&times, &receipt);
        split.take_decoding(&times, &receipt);
        split
    }

    /// Ten seconds of a stream of a hub on which nothing is wrong.
    fn well() -> Figures {
        Figures {
            from: "fw://hub/door".into(),
            seconds: 10.0,
            state: Some("live".into()),
            codec: Some("jpeg"),
            width: 1280,
            height: 720,
            announced_fps: Some(30.0),
            camera_fps: Some(29.9),
            frames: 299,
            fps: 29.9,
            bitrate: 18e6,
            decode_ms: Some(3.0),
            service: Some(Service { capacity: 90_000_000, delivered: 299, ..Service::default() }.into()),
            hub: Some(AtHub { published: 299, bitrate: 18e6, ..AtHub::default() }),
            latency_ms: split([6, 0, 1, 0, 2, 4]),
            ..Figures::default()
        }
    }

    fn served(service: Service) -> Figures {
        let lowered = matches!(service.rendition, Rendition::High | Rendition::Low);
        let lowered = lowered.then_some(service.rendition.name());
        let least_capacity = Some(service.capacity);
        Figures { service: Some(service.into()), least_capacity, lowered, ..well() }
    }

    fn at_hub(hub: AtHub) -> Figures {
        Figures { hub: Some(AtHub { bitrate: 18e6, ..hub }), ..well() }
    }

    #[test]
    fn where_nothing_is_slow_it_is_said_where_the_time_goes() {
        let report = examine(well());
        let verdict = "Nothing is slow: 29.9 pictures a second. Half of the pictures are at most 13.0 ms old when they \
                       are decoded; the longest part of that is encode, 6.0 ms.";
        assert_eq!((report.verdict.as_str(), report.slow), (verdict, None));
        let text = report.to_string();
        assert!(
            text.contains("rendition source, capacity of the downlink 90.0 Mbit/s\ndropped by the hub: none\n"),
            "{text}"
        );
        assert!(text.contains("= total         13.0    13.0    13.0\n") && !text.contains("What to try"), "{text}");
    }

    #[test]
    fn each_side_that_is_slow_is_named() {
        let narrow = Service { rendition: Rendition::High, capacity: 2_000_000, delivered: 290, ..Service::default() };
        let crowded = Service { delivered: 200, superseded: 99, ..Service::default() };
        let full = Service { capacity: 20_000_000, delivered: 299, ..Service::default() };
        let show = Summary { p50: 120.0, ..Summary::default() };
        let left_out = AtHub { published: 150, missed: 150, ..AtHub::default() };
        let skipped = Service { superseded: 100, ..Service::default() };
        let cases = [
            (Side::Camera, Figures { camera_fps: Some(10.0), fps: 10.0, ..well() }, "10.0 frames a second of the 30.0"),
            (
                Side::Camera,
                Figures {
                    camera_fps: None,
                    frames: 1,
                    decode_ms: Some(600.0),
                    ..at_hub(AtHub { published: 2, ..AtHub::default() })
                },
                "0.2 frames a second of the 30.0",
            ),
            (
                // Coding keeps the camera from its work.
                Side::Encoder,
                Figures { camera_fps: Some(10.0), latency_ms: split([130, 0, 1, 0, 2, 4]), ..well() },
                "every 33 ms",
            ),
            (
                Side::Encoder,
                Figures { latency_ms: split([90, 0, 1, 0, 2, 4]), ..well() },
                "90 ms after it was captured",
            ),
            (Side::Encoder, Figures { latency_ms: split([40, 0, 1, 0, 2, 4]), ..at_hub(left_out) }, "coded 40 ms"),
            (Side::Encoder, Figures { reordered: true, latency_ms: split([90, 0, 1, 0, 2, 4]), ..well() }, "B-frames"),
            (
                Side::Uplink,
                Figures { uplink_rate: Some(2.1e6), latency_ms: split([6, 2, 30, 0, 2, 4]), ..well() },
                "carries about 2.1 Mbit/s",
            ),
            (Side::Uplink, at_hub(left_out), "50% of the frames were left out"),
            (Side::Hub, Figures { latency_ms: split([6, 0, 1, 80, 2, 4]), ..well() }, "waits 80 ms"),
            (Side::Downlink, served(narrow), "about 2.0 Mbit/s of the 18.0 Mbit/s"),
            (Side::Downlink, served(crowded), "drop 33% of the frames"),
            (Side::Downlink, Figures { latency_ms: split([6, 0, 1, 0, 30, 4]), ..served(full) }, "takes 30 ms"),
            (Side::Downlink, Figures { frames: 0, ..well() }, "299 pictures came into the hub and none"),
            (Side::Decoder, Figures { decode_ms: Some(70.0), ..well() }, "takes 70 ms for a frame"),
            (Side::Decoder, Figures { dropped: skipped.into(), ..well() }, "33% were skipped"),
            (Side::Decoder, Figures { bad: 200, fault: Some("cut short".into()), ..well() }, "200 of 299 frames"),
            (Side::Screen, at_hub(AtHub { published: 299, show_ms: Some(show), ..AtHub::default() }), "wait 120 ms"),
        ];
        for (side, figures, words) in cases {
            let report = examine(figures);
            assert_eq!(report.slow, Some(side), "{report}");
            assert!(report.verdict.contains(words), "{}", report.verdict);
            assert!(report.to_string().contains("What to try:\n- "), "{report}");
        }
    }

    #[test]
    fn a_long_way_is_not_a_slow_one() {
        let far = Figures { latency_ms: split([6, 0, 1, 0, 80, 4]), ..well() };
        assert_eq!(examine(far).slow, None);
        let held_for_the_link = Figures {
            latency_ms: split([6, 0, 1, 60, 30, 4]),
            ..served(Service { rendition: Rendition::Low, capacity: 300_000, delivered: 290, ..Service::default() })
        };
        let report = examine(held_for_the_link);
        assert_eq!((report.slow, report.findings.len()), (Some(Side::Downlink), 1), "{report}");
    }

    #[test]
    fn the_worst_comes_first_and_the_others_after_it() {
        let service = Service { rendition: Rendition::Low, capacity: 1_000_000, delivered: 299, ..Service::default() };
        let report = examine(Figures { camera_fps: Some(15.0), ..served(service) });
        let sides: Vec<Side> = report.findings.iter().map(|finding| finding.side).collect();
        assert_eq!(sides, [Side::Downlink, Side::Camera]);
        assert!(report.to_string().contains("Besides: The camera is slow"), "{report}");
    }

    #[test]
    fn a_stream_of_which_nothing_comes_says_so() {
        let nothing = Figures { from: "fw://hub/door".into(), seconds: 10.0, ..Figures::default() };
        let report = examine(Figures { state: Some("stalled".into()), ..nothing.clone() });
        assert_eq!(report.verdict, "No picture came in 10.0 s from fw://hub/door: it is stalled.");
        assert_eq!(examine(nothing).verdict, "No picture came in 10.0 s from fw://hub/door.");
        let stopped = examine(Figures { state: Some("stalled".into()), ..well() });
        assert!(stopped.verdict.contains("has stalled: no picture"), "{stopped}");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let figures = Figures { hub: None, service: None, latency_ms: Split::default(), ..well() };
        let report = examine(figures);
        assert_eq!(report.slow, None);
        assert!(report.verdict.contains("How old they are is not known."), "{report}");
        assert_eq!(report.not_known.len(), 2, "{report}");
    }

    #[test]
    fn a_report_is_one_json_object() {
        let narrow = Service { rendition: Rendition::High, capacity: 2_000_000, ..Service::default() };
        let json = serde_json::to_value(examine(served(narrow))).unwrap();
        assert_eq!((json["slow"].as_str(), json["findings"][0]["side"].as_str()), (Some("downlink"), Some("downlink")));
        assert!(json["findings"][0]["try"].as_array().is_some_and(|advice| !advice.is_empty()), "{json}");
        assert_eq!(json["service"]["capacity"], 2_000_000);
        assert_eq!(json["latency_ms"]["encode"]["p50"], 6.0);
        assert_eq!(json["dropped"]["superseded"], 0);
    }
}
