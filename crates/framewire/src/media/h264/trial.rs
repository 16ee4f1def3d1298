//! A trial of an encoder: whether it encodes live video as well as libx264.
//!
//! The encoder gets a scene with too many details for its bits, at three bitrates. It passes if:
//! - every frame comes at once and is no larger than it may be,
//! - keyframes come only where they are asked for, or where the bitrate changes,
//! - the decoded pictures are nearly as good as libx264's.
//!
//! A trial takes a second where there is hardware, and no time where there is none.

use std::time::{Duration, Instant};

use framewire_proto::{Codec, Frame, Times, h264};

use super::{
    backend::{Backend, BackendKind, SOFTWARE, millifps},
    config::{EncodedFrame, H264Config},
};
use crate::error::{Error, OrError as _, Result, bail, ensure};
use crate::media::{
    decode::Decoder,
    picture::{Picture, planes_mut},
};

/// The bitrate of each part of a trial, in thousandths of a bit per pixel.
const PARTS: [u64; 3] = [150, 50, 200];
/// Frames in each part.
const FRAMES: usize = 12;
/// The frame of the last part that must be a keyframe.
const KEYFRAME_AT: usize = 6;
/// The largest frame, in percent of bitrate / fps.
const LARGEST_PERCENT: u64 = 150;
/// The least and the most that frames may take on average, in percent of bitrate / fps.
const MEAN_PERCENT: [u64; 2] = [50, 110];
/// How much lower the PSNR may be than libx264's, in dB.
const MAX_PSNR_LOSS: f64 = 2.0;
/// The median time per picture that is good enough, even if libx264 is faster.
const FAST: Duration = Duration::from_millis(10);
/// The longest time for a picture.
const MAX_TIME: Duration = Duration::from_millis(100);

/// The effect of a new bitrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BitrateChange {
    /// The frames change their size, and nothing else happens.
    Smooth,
    /// The next frame is a keyframe.
    Keyframe,
}

/// The outcome of a trial.
#[derive(Debug, Clone, Copy)]
struct Trial {
    change: BitrateChange,
    /// Mean PSNR of each plane, in dB.
    psnr: [f64; 3],
    /// Time per picture: the median, and the longest but one.
    took: [Duration; 2],
}

/// Whether an encoder does as well as libx264, and the effect of a new bitrate.
///
/// # Errors
/// It does not, or is not available.
pub(super) fn examine(kind: &'static BackendKind, config: H264Config) -> Result<BitrateChange> {
    let tried = run(kind, config, BitrateChange::Smooth)?;
    compare(&tried, &run(&SOFTWARE, config, tried.change)?)?;
    Ok(tried.change)
}

/// Compares an encoder's quality and speed with libx264's.
///
/// # Errors
/// The encoder is worse or slower.
fn compare(tried: &Trial, software: &Trial) -> Result<()> {
    for (plane, (psnr, expected)) in ["Y", "U", "V"].into_iter().zip(tried.psnr.into_iter().zip(software.psnr)) {
        if psnr < expected - MAX_PSNR_LOSS {
            bail!(Unsupported, "the {plane} plane of its pictures has {psnr:.1} dB, libx264's {expected:.1}");
        }
    }
    let ([median, longest], expected) = (tried.took, software.took[0]);
    ensure!(median <= FAST.max(expected), Unsupported, "it takes {median:?} per picture, libx264 {expected:?}");
    ensure!(longest <= MAX_TIME, Unsupported, "a picture took {longest:?}");
    Ok(())
}

/// Encodes the scene. With [`BitrateChange::Keyframe`] a keyframe is asked for at each new bitrate, for a fair comparison.
///
/// # Errors
/// The encoder fails, or breaks a rule of the trial.
fn run(kind: &'static BackendKind, config: H264Config, change: BitrateChange) -> Result<Trial> {
    let mut run = TrialRun {
        config,
        backend: Backend::open(kind, H264Config { bitrate: bitrate(config, PARTS[0]), ..config })?,
        decoder: Decoder::new(),
        change: BitrateChange::Smooth,
        times: Vec::new(),
        psnr: [0.0; 3],
    };
    for (part, bits) in PARTS.into_iter().enumerate() {
        let expected = bitrate(config, bits) * 1000 / u64::from(millifps(config.millifps));
        let mut sizes = Vec::new();
        for number in 0..FRAMES {
            let asked =
                part + 1 == PARTS.len() && number == KEYFRAME_AT || number == 0 && change == BitrateChange::Keyframe;
            let size = run.encode((part, number), bitrate(config, bits), asked)?;
            ensure!(
                size <= expected * LARGEST_PERCENT / 100,
                Unsupported,
                "a frame has {size} bits where {expected} were expected"
            );
            sizes.push(size);
        }
        // The first frame of a part has only what the last one left in the buffer.
        let mean = sizes[1..].iter().sum::<u64>() / (FRAMES as u64 - 1);
        let [least, most] = MEAN_PERCENT.map(|percent| expected * percent / 100);
        ensure!(
            (least..=most).contains(&mean),
            Unsupported,
            "its frames have {mean} bits on average where {expected} were expected"
        );
    }
    run.times.sort_unstable();
    let count = run.times.len();
    // One picture may take longer: the first, whose delay is not visible.
    let took = [run.times[count / 2], run.times[count - 2]];
    Ok(Trial { change: run.change, psnr: run.psnr.map(|sum| sum / count as f64), took })
}

/// Bits per second for this many thousandths of a bit per pixel.
fn bitrate(config: H264Config, bits: u64) -> u64 {
    let pixels = u64::from(config.width) * u64::from(config.height);
    (pixels * u64::from(millifps(config.millifps)) / 1000 * bits / 1000).max(1)
}

/// A running trial.
struct TrialRun {
    config: H264Config,
    backend: Backend,
    decoder: Decoder,
    change: BitrateChange,
    times: Vec<Duration>,
    /// The sum for each plane.
    psnr: [f64; 3],
}

impl TrialRun {
    /// Encodes and decodes frame `number` of a part; returns the frame's size in bits.
    fn encode(&mut self, (part, number): (usize, usize), bitrate: u64, asked: bool) -> Result<u64> {
        let sequence = part * FRAMES + number;
        let picture = scene(self.config, sequence);
        let began = Instant::now();
        self.backend.set_bitrate(bitrate)?;
        let encoded = self.backend.encode(&picture, asked)?;
        self.times.push(began.elapsed());

        let contents = h264::contents(&encoded.data);
        ensure!(
            (contents.is_keyframe(), contents.parameter_sets) == (encoded.keyframe, encoded.keyframe),
            Unsupported,
            "its keyframes lack parameter sets, or are not marked as keyframes"
        );
        let must = asked || sequence == 0;
        ensure!(encoded.keyframe || !must, Unsupported, "it makes no keyframe on request");
        ensure!(!encoded.keyframe || asked || number == 0, Unsupported, "it makes keyframes without a request");
        if encoded.keyframe && number == 0 && part > 0 {
            self.change = BitrateChange::Keyframe;
        }
        let shown = self.decode(sequence as u64, &encoded)?;
        for (sum, (one, other)) in self.psnr.iter_mut().zip(picture.planes().into_iter().zip(shown.planes())) {
            *sum += psnr(one, other);
        }
        Ok(8 * encoded.data.len() as u64)
    }

    fn decode(&mut self, sequence: u64, encoded: &EncodedFrame) -> Result<Picture> {
        let H264Config { width, height, millifps, .. } = self.config;
        let config = framewire_proto::Config::new(Codec::H264, width.try_into()?, height.try_into()?, millifps);
        let (keyframe, data) = (encoded.keyframe, encoded.data.clone());
        let frame = Frame { sequence, keyframe, times: Times::default(), data };
        let decoded = self.decoder.decode(&config, &frame, Codec::I420)?;
        let (_, picture) = decoded.or_error(Error::Unsupported, || "its frames cannot be shown at once")?;
        ensure!((picture.width(), picture.height()) == (width, height), Unsupported, "its pictures have another size");
        Ok(picture)
    }
}

/// A picture of a moving texture, part of which is new each time.
fn scene(config: H264Config, number: usize) -> Picture {
    let (width, height) = (config.width, config.height);
    let mut data = vec![0; Codec::I420.raw_length(width, height).expect("a size that an encoder was opened for")];
    for (plane, values) in planes_mut(&mut data, width, height).into_iter().enumerate() {
        let (width, moved) = if plane == 0 { (width as usize, 2 * number) } else { (width as usize / 2, number) };
        for (y, row) in values.chunks_exact_mut(width).enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                let (along, down) = (x + moved, y + moved / 2);
                let slope = 40 + (along + 2 * down) / 8 % 128;
                // Chroma has less detail.
                let grain =
                    if plane == 0 { hash(along / 4, down / 4) % 32 + hash(x + 7919 * number, y) % 4 } else { 0 };
                // The planes differ, so that an encoder that swaps them fails.
                *value = if plane == 2 { 255 - slope } else { slope + grain } as u8;
            }
        }
    }
    Picture::new(Codec::I420, width, height, data.into()).expect("its own size")
}

/// A number that looks random, but is always the same for this place.
fn hash(x: usize, y: usize) -> usize {
    let mixed = (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
    (mixed ^ (mixed >> 15)).wrapping_mul(0x2C1B_3C6D) as usize >> 20
}

/// Peak signal-to-noise ratio of two planes, in dB.
pub(super) fn psnr(one: &[u8], other: &[u8]) -> f64 {
    let square: f64 = one.iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * one.len() as f64 / square.max(1.0)).log10()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::media::av::{PlaneLayout, RateControl};

    const CONFIG: H264Config = H264Config { width: 640, height: 360, millifps: 30_000, bitrate: 1_000_000 };
    const ZERO_LATENCY: (&std::ffi::CStr, &std::ffi::CStr) = (c"tune", c"zerolatency");
    const FORCED: (&std::ffi::CStr, &std::ffi::CStr) = (c"forced-idr", c"1");

    /// libx264 with these options, which may fail a trial.
    const fn x264(options: &'static [(&'static std::ffi::CStr, &'static std::ffi::CStr)]) -> BackendKind {
        BackendKind {
            name: c"libx264",
            options,
            layout: PlaneLayout::Planar,
            rate_control: RateControl::Capped,
            reopens: false,
        }
    }

    /// Passes, and starts again with a keyframe at each new bitrate.
    pub(in super::super) static REOPENS: BackendKind = BackendKind { reopens: true, ..SOFTWARE };
    /// Gives frames later than their pictures.
    pub(in super::super) static LATE: BackendKind = x264(&[(c"preset", c"superfast"), FORCED]);

    /// The outcome of a trial without its times, which depend on the machine.
    fn outcome(kind: &'static BackendKind, config: H264Config) -> Result<BitrateChange> {
        let untimed =
            |kind, change| run(kind, config, change).map(|trial| Trial { took: [Duration::ZERO; 2], ..trial });
        let tried = untimed(kind, BitrateChange::Smooth)?;
        compare(&tried, &untimed(&SOFTWARE, tried.change)?)?;
        Ok(tried.change)
    }

    #[test]
    fn a_good_encoder_passes_and_the_effect_of_a_new_bitrate_is_found() {
        // Takes its pictures and bitrate as hardware does.
        static LIKE_HARDWARE: BackendKind = BackendKind {
            options: &[(c"preset", c"superfast"), ZERO_LATENCY, FORCED, (c"x264-params", c"scenecut=0")],
            layout: PlaneLayout::Nv12,
            rate_control: RateControl::Constant,
            ..SOFTWARE
        };
        for (width, height) in [(640, 360), (1280, 720)] {
            let config = H264Config { width, height, ..CONFIG };
            for (kind, due) in [
                (&SOFTWARE, BitrateChange::Smooth),
                (&LIKE_HARDWARE, BitrateChange::Smooth),
                (&REOPENS, BitrateChange::Keyframe),
            ] {
                assert_eq!(outcome(kind, config).unwrap(), due, "{width}x{height}");
            }
        }
    }

    #[test]
    fn a_bad_encoder_fails_with_the_reason() {
        static BLURRED: BackendKind = x264(&[(c"preset", c"superfast"), ZERO_LATENCY, FORCED, (c"qmin", c"46")]);
        static LARGE: BackendKind = x264(&[(c"preset", c"superfast"), ZERO_LATENCY, FORCED, (c"qp", c"18")]);
        static KEYFRAMES: BackendKind =
            x264(&[(c"preset", c"superfast"), ZERO_LATENCY, FORCED, (c"crf", c"18"), (c"x264-params", c"keyint=5")]);
        static NOWHERE: BackendKind = BackendKind { name: c"libnothing", ..SOFTWARE };
        static UNABLE: BackendKind =
            BackendKind { layout: PlaneLayout::Nv12, name: c"mpeg4", options: &[], ..SOFTWARE };
        for (kind, due) in [
            (&LATE, "gave no frame for a picture"),
            (&BLURRED, "on average"),
            (&LARGE, "were expected"),
            (&KEYFRAMES, "without a request"),
            (&NOWHERE, "without libnothing"),
            (&UNABLE, "mpeg4"),
        ] {
            let fault = format!("{:#}", outcome(kind, CONFIG).expect_err("a bad encoder"));
            assert!(fault.contains(due), "{fault}");
        }
    }

    #[test]
    fn an_encoder_that_is_slower_or_worse_than_libx264_fails() {
        let ms = Duration::from_millis;
        let trial = |psnr, half, most| Trial {
            change: BitrateChange::Smooth,
            psnr: [psnr, 40.0, 40.0],
            took: [ms(half), ms(most)],
        };
        let software = trial(38.0, 6, 9);
        for (tried, due) in [
            (trial(37.0, 9, 20), None),
            (trial(35.0, 5, 8), Some("35.0 dB")),
            (trial(39.0, 11, 12), Some("11ms per picture")),
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
}
