//! Hardware that codes H.264 as live video needs it: found out by trying, since what FFmpeg lists need not be there, and what is
//! there need not do it.
//!
//! What is tried codes a scene that has too many details for its bits, three bitrates long, and takes over if every frame came
//! at once and was no larger than it should be, no keyframe came unasked but where the bitrate changes, and what a decoder made
//! of them is hardly worse than of libx264's. A trial takes a second where there is hardware and nothing where there
//! is none. It runs on a thread of its own, one after the other, once for each size; a driver that never answers holds up the
//! next trials and no video.
//!
//! Of FFmpeg's encoders only two change their bitrate while they run: NVENC, with a keyframe, and from FFmpeg 6.0 on QSV. Two
//! more take pictures from memory and are opened again for each new bitrate. VA-API and Vulkan take none.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        OnceLock,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use framewire_proto::{Codec, Frame, Times, h264};

use super::{
    Config, Encoded,
    coder::{Coder, Kind, SOFTWARE, millifps},
};
use crate::error::{Error, OrError as _, Result, ensure};
use crate::media::{
    Picture,
    av::{Layout, Pace},
    decode::Decoder,
    planes_mut,
};

/// In the order in which they are tried.
static KINDS: &[Kind] = &[
    Kind {
        name: c"h264_nvenc",
        options: &[
            (c"preset", c"p4"),
            (c"tune", c"ull"),
            (c"rc", c"cbr"),
            // A first look at a quarter of the pixels keeps frames within a buffer of one.
            (c"multipass", c"qres"),
            (c"delay", c"0"),
            (c"zerolatency", c"1"),
            (c"forced-idr", c"1"),
        ],
        layout: Layout::Planar,
        pace: Pace::Constant,
        reopens: false,
    },
    Kind {
        name: c"h264_qsv",
        options: &[
            (c"preset", c"veryfast"),
            (c"async_depth", c"1"),
            (c"forced_idr", c"1"),
            (c"min_qp_i", c"18"),
            (c"min_qp_p", c"18"),
            // With a decoder's buffer promised in the stream, each new bitrate would need a new stream.
            (c"strict", c"-1"),
        ],
        layout: Layout::Nv12,
        pace: Pace::Constant,
        reopens: false,
    },
    Kind { name: c"h264_v4l2m2m", options: &[], layout: Layout::Planar, pace: Pace::Constant, reopens: true },
    Kind {
        name: c"h264_videotoolbox",
        options: &[(c"realtime", c"1"), (c"prio_speed", c"1")],
        layout: Layout::Nv12,
        pace: Pace::Constant,
        reopens: true,
    },
];

/// Set to `off` in the environment, no hardware is tried.
const VARIABLE: &str = "FRAMEWIRE_HARDWARE";
/// Smaller pictures cost libx264 next to nothing, and say little in a trial.
const SMALLEST: u32 = 640 * 360;
/// Searches that may wait for those before them, and sizes that are remembered.
const WAITING: usize = 64;
const SIZES: usize = 256;

/// What a new bitrate does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It holds, and nothing else happens.
    Nothing,
    /// It begins with a keyframe.
    Keyframe,
}

/// Hardware that is open and does it.
pub(super) struct Ready {
    pub(super) coder: Coder,
    pub(super) change: Change,
}

/// What does it at some size.
#[derive(Clone, Copy)]
struct Fit {
    kind: &'static Kind,
    change: Change,
}

/// Hardware is being looked for.
pub(super) struct Search(Receiver<Ready>);

struct Request {
    config: Config,
    answer: SyncSender<Ready>,
}

impl Search {
    /// Begins to look for hardware that codes this; `None` where that is of no use.
    pub(super) fn begin(config: Config) -> Option<Self> {
        static SEARCHES: OnceLock<Option<SyncSender<Request>>> = OnceLock::new();
        if config.width * config.height < SMALLEST {
            return None;
        }
        let searches = SEARCHES.get_or_init(|| {
            if std::env::var_os(VARIABLE).is_some_and(|value| value == "off") {
                return None;
            }
            let (sender, requests) = mpsc::sync_channel(WAITING);
            // Without a thread there is no hardware, and all else works.
            thread::Builder::new().name("hardware".into()).spawn(move || search(&requests)).ok().map(|_| sender)
        });
        let (answer, found) = mpsc::sync_channel(1);
        searches.as_ref()?.try_send(Request { config, answer }).ok().map(|()| Self(found))
    }

    /// What was found, once.
    pub(super) fn found(&self) -> Option<Ready> {
        self.0.try_recv().ok()
    }

    /// A search that has found this.
    #[cfg(test)]
    pub(super) fn ended(found: Ready) -> Self {
        let (answer, receiver) = mpsc::sync_channel(1);
        assert!(answer.send(found).is_ok());
        Self(receiver)
    }
}

/// Looks for what is asked for, one after the other.
fn search(requests: &Receiver<Request>) {
    let mut known: HashMap<(u32, u32), Option<Fit>> = HashMap::new();
    for Request { config, answer } in requests {
        let size = (config.width, config.height);
        let room = known.len() < SIZES;
        let fit = match known.entry(size) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) if room => *unknown.insert(best(KINDS, config)),
            Entry::Vacant(_) => None,
        };
        let Some(Fit { kind, change }) = fit else { continue };
        match Coder::open(kind, config) {
            // Whoever asked may have gone; then it is closed again.
            Ok(coder) => drop(answer.try_send(Ready { coder, change })),
            Err(error) => tracing::debug!("libx264 goes on: {error}"),
        }
    }
}

/// The first of these that does it.
fn best(kinds: &'static [Kind], config: Config) -> Option<Fit> {
    let (width, height) = (config.width, config.height);
    kinds.iter().find_map(|kind| {
        let name = kind.name.to_string_lossy();
        match examine(kind, config) {
            Ok(change) => {
                tracing::info!("H.264 of {width}x{height} is coded by {name}");
                Some(Fit { kind, change })
            }
            Err(error) => {
                tracing::debug!("H.264 of {width}x{height} is not coded by {name}: {error}");
                None
            }
        }
    })
}

/// Thousandths of a bit per pixel in each part of a trial, and how many frames each has.
const PARTS: [u64; 3] = [150, 50, 200];
const FRAMES: usize = 12;
/// In the last part this one is to be a keyframe.
const ASKED: usize = 6;
/// What frames may have in hundredths of what is due: at most, in the mean, and in the mean at least.
const LARGEST: u64 = 150;
const MEAN: u64 = 110;
const LEAST: u64 = 50;
/// How much worse than libx264's the pictures may be, in dB.
const WORSE: f64 = 2.0;
/// How long a picture may take if libx264 is faster still, and how long any may.
const QUICK: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(100);

/// What came of a trial.
#[derive(Debug, Clone, Copy)]
struct Trial {
    change: Change,
    /// Of the planes of a picture, in the mean, in dB.
    psnr: [f64; 3],
    /// Of a picture: half of them, and all but one.
    took: [Duration; 2],
}

/// Whether such encoders do what libx264 does, as well and as fast, and what a new bitrate does.
///
/// # Errors
/// They do not, or there is none.
fn examine(kind: &'static Kind, config: Config) -> Result<Change> {
    let tried = attempt(kind, config, Change::Nothing)?;
    compare(&tried, &attempt(&SOFTWARE, config, tried.change)?)?;
    Ok(tried.change)
}

/// Whether one is nearly as good as libx264.
///
/// # Errors
/// It is not.
fn compare(tried: &Trial, software: &Trial) -> Result<()> {
    for (plane, (psnr, due)) in ["light", "blue", "red"].into_iter().zip(tried.psnr.into_iter().zip(software.psnr)) {
        ensure!(
            psnr >= due - WORSE,
            Unsupported,
            "its pictures have {psnr:.1} dB in their {plane}, libx264's {due:.1}"
        );
    }
    let ([half, most], due) = (tried.took, software.took[0]);
    ensure!(half <= QUICK.max(due), Unsupported, "it takes {half:?} a picture, libx264 {due:?}");
    ensure!(most <= LONGEST, Unsupported, "a picture took {most:?}");
    Ok(())
}

/// Codes the scene, and at least does this where the bitrate changes.
///
/// # Errors
/// It cannot be coded as it should.
fn attempt(kind: &'static Kind, config: Config, least: Change) -> Result<Trial> {
    let bitrate = |part: u64| {
        let pixels = u64::from(config.width) * u64::from(config.height);
        (pixels * u64::from(millifps(config.millifps)) / 1000 * part / 1000).max(1)
    };
    let mut coder = Coder::open(kind, Config { bitrate: bitrate(PARTS[0]), ..config })?;
    let mut decoder = Decoder::new();
    let mut change = Change::Nothing;
    let (mut times, mut psnr) = (Vec::new(), [0.0; 3]);
    for (part, bits) in PARTS.into_iter().enumerate() {
        let due = bitrate(bits) * 1000 / u64::from(millifps(config.millifps));
        let mut sizes = Vec::new();
        for number in 0..FRAMES {
            let picture = scene(config, part * FRAMES + number);
            let first = number == 0;
            let asked = part + 1 == PARTS.len() && number == ASKED || first && least == Change::Keyframe;
            let began = Instant::now();
            coder.set_bitrate(bitrate(bits))?;
            let coded = coder.encode(&picture, asked)?;
            times.push(began.elapsed());

            let contents = h264::contents(&coded.data);
            ensure!(
                (contents.is_keyframe(), contents.parameter_sets) == (coded.keyframe, coded.keyframe),
                Unsupported,
                "its keyframes have no parameter sets, or are not what it says"
            );
            ensure!(
                coded.keyframe || !(asked || (part, number) == (0, 0)),
                Unsupported,
                "it makes no keyframe when asked"
            );
            ensure!(!coded.keyframe || asked || first, Unsupported, "it makes keyframes unasked");
            if coded.keyframe && first && part > 0 {
                change = Change::Keyframe;
            }
            let size = 8 * coded.data.len() as u64;
            ensure!(size <= due * LARGEST / 100, Unsupported, "a frame has {size} bits where {due} were due");
            sizes.push(size);
            let shown = decoded(&mut decoder, config, (part * FRAMES + number) as u64, &coded)?;
            for (sum, (one, other)) in psnr.iter_mut().zip(picture.planes().into_iter().zip(shown.planes())) {
                *sum += self::psnr(one, other);
            }
        }
        // The first frame has what the one before it left.
        let mean = sizes[1..].iter().sum::<u64>() / (FRAMES as u64 - 1);
        ensure!(
            (due * LEAST / 100..=due * MEAN / 100).contains(&mean),
            Unsupported,
            "its frames have {mean} bits in the mean where {due} were due"
        );
    }
    times.sort_unstable();
    // One may take longer: the first, which nobody waits for.
    let took = [times[times.len() / 2], times[times.len() - 2]];
    Ok(Trial { change, psnr: psnr.map(|sum| sum / times.len() as f64), took })
}

/// A picture of a texture that moves, part of which is new each time.
fn scene(config: Config, number: usize) -> Picture {
    let (width, height) = (config.width, config.height);
    let mut data = vec![0; Codec::I420.raw_length(width, height).expect("a size that has an encoder")];
    for (plane, values) in planes_mut(&mut data, width, height).into_iter().enumerate() {
        let (width, moved) = if plane == 0 { (width as usize, 2 * number) } else { (width as usize / 2, number) };
        for (y, row) in values.chunks_exact_mut(width).enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                let (along, down) = (x + moved, y + moved / 2);
                let slope = 40 + (along + 2 * down) / 8 % 128;
                // Colours are calmer.
                let grain =
                    if plane == 0 { hash(along / 4, down / 4) % 32 + hash(x + 7919 * number, y) % 4 } else { 0 };
                // Whoever takes red for blue must not look the same.
                *value = if plane == 2 { 255 - slope } else { slope + grain } as u8;
            }
        }
    }
    Picture::new(Codec::I420, width, height, data.into()).expect("its own size")
}

/// Some number that is always the same for these.
fn hash(x: usize, y: usize) -> usize {
    let mixed = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
    (mixed ^ (mixed >> 15)).wrapping_mul(0x2C1B_3C6D) as usize >> 20
}

/// What the decoder makes of a frame.
fn decoded(decoder: &mut Decoder, config: Config, number: u64, coded: &Encoded) -> Result<Picture> {
    let given = framewire_proto::Config {
        codec: Codec::H264,
        width: config.width.try_into()?,
        height: config.height.try_into()?,
        millifps: config.millifps,
        extra: Bytes::new(),
    };
    let (keyframe, data) = (coded.keyframe, coded.data.clone());
    let frame = Frame { sequence: number, keyframe, times: Times::default(), data };
    let (_, picture) = decoder
        .decode(&given, &frame, Codec::I420)?
        .or_error(Error::Unsupported, || "its pictures cannot be shown at once")?;
    ensure!(
        (picture.width, picture.height) == (config.width, config.height),
        Unsupported,
        "its pictures have another size"
    );
    Ok(picture)
}

/// Peak signal to noise ratio of two planes, in dB.
pub(super) fn psnr(one: &[u8], other: &[u8]) -> f64 {
    let square: f64 = one.iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * one.len() as f64 / square.max(1.0)).log10()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const CONFIG: Config = Config { width: 640, height: 360, millifps: 30_000, bitrate: 1_000_000 };
    const ZERO_LATENCY: (&std::ffi::CStr, &std::ffi::CStr) = (c"tune", c"zerolatency");
    const FORCED: (&std::ffi::CStr, &std::ffi::CStr) = (c"forced-idr", c"1");

    /// libx264 with these options, which does not always do it.
    const fn x264(options: &'static [(&'static std::ffi::CStr, &'static std::ffi::CStr)]) -> Kind {
        Kind { name: c"libx264", options, layout: Layout::Planar, pace: Pace::AtMost, reopens: false }
    }

    /// Does it, and begins anew at each new bitrate.
    pub(in super::super) static REOPENS: Kind = Kind { reopens: true, ..SOFTWARE };
    /// Gives frames later than their pictures.
    pub(in super::super) static LATE: Kind = x264(&[(c"preset", c"superfast"), FORCED]);

    /// What came of it but for how long it took, which is the machine's.
    fn outcome(kind: &'static Kind, config: Config) -> Result<Change> {
        let untimed =
            |kind, least| attempt(kind, config, least).map(|trial| Trial { took: [Duration::ZERO; 2], ..trial });
        let tried = untimed(kind, Change::Nothing)?;
        compare(&tried, &untimed(&SOFTWARE, tried.change)?)?;
        Ok(tried.change)
    }

    #[test]
    fn what_does_it_passes_and_what_a_new_bitrate_does_is_found_out() {
        // As hardware takes its pictures and bitrate.
        static ALIKE: Kind = Kind {
            options: &[(c"preset", c"superfast"), ZERO_LATENCY, FORCED, (c"x264-params", c"scenecut=0")],
            layout: Layout::Nv12,
            pace: Pace::Constant,
            ..SOFTWARE
        };
        for (width, height) in [(640, 360), (1280, 720)] {
            let config = Config { width, height, ..CONFIG };
            for (kind, due) in [(&SOFTWARE, Change::Nothing), (&ALIKE, Change::Nothing), (&REOPENS, Change::Keyframe)] {
                assert_eq!(outcome(kind, config).unwrap(), due, "{width}x{height}");
            }
        }
    }

    #[test]
    fn what_does_not_do_it_fails_with_what_it_did() {
        static BLURRED: Kind = x264(&[(c"preset", c"superfast"), ZERO_LATENCY, FORCED, (c"qmin", c"46")]);
        static LARGE: Kind = x264(&[(c"preset", c"superfast"), ZERO_LATENCY, FORCED, (c"qp", c"18")]);
        static KEYFRAMES: Kind =
            x264(&[(c"preset", c"superfast"), ZERO_LATENCY, FORCED, (c"crf", c"18"), (c"x264-params", c"keyint=5")]);
        static NOWHERE: Kind = Kind { name: c"libnothing", ..SOFTWARE };
        static UNABLE: Kind = Kind { layout: Layout::Nv12, name: c"mpeg4", options: &[], ..SOFTWARE };
        for (kind, due) in [
            (&LATE, "held a picture back"),
            (&BLURRED, "in the mean"),
            (&LARGE, "were due"),
            (&KEYFRAMES, "unasked"),
            (&NOWHERE, "without libnothing"),
            (&UNABLE, "mpeg4"),
        ] {
            let fault = format!("{:#}", outcome(kind, CONFIG).expect_err("it does it all"));
            assert!(fault.contains(due), "{fault}");
        }
    }

    #[test]
    fn what_is_slower_or_worse_than_libx264_is_not_taken() {
        let ms = Duration::from_millis;
        let trial =
            |psnr, half, most| Trial { change: Change::Nothing, psnr: [psnr, 40.0, 40.0], took: [ms(half), ms(most)] };
        let software = trial(38.0, 6, 9);
        for (tried, due) in [
            (trial(37.0, 9, 20), None),
            (trial(35.0, 5, 8), Some("35.0 dB")),
            (trial(39.0, 11, 12), Some("11ms a picture")),
            (trial(39.0, 5, 140), Some("took 140ms")),
        ] {
            let fault = compare(&tried, &software).err().map(|error| error.to_string());
            match due {
                None => assert_eq!(fault, None),
                Some(due) => assert!(fault.as_ref().is_some_and(|fault| fault.contains(due)), "{fault:?}"),
            }
        }
        // Where libx264 is slow, hardware may be.
        compare(&trial(38.0, 24, 30), &trial(38.0, 25, 40)).unwrap();
    }

    #[test]
    fn options_of_hardware_are_known_to_this_ffmpeg() {
        // Without the hardware it fails only when it is opened, after it took its options.
        for kind in KINDS {
            let refused = Coder::open(kind, CONFIG).err().map(|error| error.to_string());
            assert!(refused.as_ref().is_none_or(|why| !why.contains("refuses its option")), "{refused:?}");
        }
    }
}
