//! Pictures become H.264 for live use, a frame out as soon as its picture went in: by libx264 through FFmpeg, and by a
//! hardware encoder once one has shown that it does the same.
//!
//! No frame may be larger than what the link carries in the time of one, so the encoder's buffer (VBV) holds just one: x264 then
//! plans each frame by itself, keyframes too, and codes rows again that come out too large. At 1280x720, from 400 kbit/s on,
//! frames that would take more were 0.8 to 0.87 of bitrate / fps in the mean and at most 1.02, keyframes no larger; with a buffer
//! of two frames the worst was 2.2, with the usual second 4 to 12. A lower bitrate holds from the next frame on, a higher one
//! from the one after it, since the next has only what the last one left in the buffer. For a keyframe that may be larger
//! the bitrate is raised one frame ahead.
//!
//! ```text
//!   coder     one of FFmpeg's encoders, opened for this
//!   hardware  which of them do it on this machine: tried beside the running encoder, never in its way
//!   steps     where a new bitrate costs a keyframe: only those that are worth it
//! ```

mod bitrate_steps;
mod coder;
mod hardware;

use bytes::Bytes;
use framewire_proto::{Codec, limits};

use self::{
    bitrate_steps::BitrateSteps,
    coder::{Coder, SOFTWARE},
    hardware::{Change, Ready, Search},
};
use super::Picture;
use crate::error::{Error, Result, ensure, error};

/// What an [`Encoder`] is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
    /// Frames per second in thousandths; 0 when it is not known or not constant.
    pub millifps: u32,
    /// Bits per second, see [`Encoder::set_bitrate`].
    pub bitrate: u64,
}

/// A picture in H.264.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// One access unit in Annex B form, with parameter sets if it is a keyframe.
    pub data: Bytes,
    /// Whether decoding can begin here.
    pub keyframe: bool,
}

/// Codes pictures of one size as a row of frames that each need those before it, back to a keyframe. The first is a keyframe.
pub struct Encoder {
    config: Config,
    coder: Coder,
    /// Where a new bitrate costs a keyframe.
    steps: Option<BitrateSteps>,
    /// The hardware that is being looked for.
    search: Option<Search>,
}

impl Encoder {
    /// Opens the encoder, with libx264. Hardware takes over, with a keyframe, when it has been found to do as well.
    ///
    /// # Errors
    /// The size is odd or over the limit, or this FFmpeg has no libx264.
    pub fn open(config: Config) -> Result<Self> {
        let Config { width, height, .. } = config;
        limits::check_size(width, height).map_err(|why| error!(InvalidInput, "{why}"))?;
        ensure!(
            width % 2 == 0 && height % 2 == 0,
            InvalidInput,
            "H.264 codes even sizes only, not {width}x{height}: scale to {}x{}",
            width.next_multiple_of(2),
            height.next_multiple_of(2)
        );
        Ok(Self { config, coder: Coder::open(&SOFTWARE, config)?, steps: None, search: Search::begin(config) })
    }

    /// The frame of the next picture, of [`Codec::I420`] and the size that this was opened for.
    ///
    /// # Errors
    /// The picture is of another size or layout. Anything else is the encoder's failure: open another.
    pub fn encode(&mut self, picture: &Picture, keyframe: bool) -> Result<Encoded> {
        let Config { width, height, .. } = self.config;
        ensure!(
            (picture.codec, picture.width, picture.height) == (Codec::I420, width, height),
            InvalidInput,
            "this encoder takes i420 of {width}x{height}, not {} of {}x{}: open another, or convert the picture",
            picture.codec.name(),
            picture.width,
            picture.height
        );
        if let Some(Ready { coder, change }) = self.search.as_ref().and_then(Search::found) {
            self.coder = coder;
            self.steps = (change == Change::Keyframe).then(BitrateSteps::default);
        }
        match self.code(picture, keyframe) {
            Err(error) if !self.coder.is(&SOFTWARE) => self.give_up_hardware(picture, &error),
            coded => coded,
        }
    }

    fn code(&mut self, picture: &Picture, keyframe: bool) -> Result<Encoded> {
        let bitrate = match &mut self.steps {
            Some(steps) => steps.bitrate(self.config.bitrate, keyframe),
            None => self.config.bitrate,
        };
        self.coder.set_bitrate(bitrate)?;
        self.coder.encode(picture, keyframe)
    }

    /// The picture's frame by libx264, for good.
    fn give_up_hardware(&mut self, picture: &Picture, error: &Error) -> Result<Encoded> {
        tracing::warn!("{} fails, libx264 goes on: {error}", self.coder.name());
        (self.coder, self.steps) = (Coder::open(&SOFTWARE, self.config)?, None);
        self.code(picture, true)
    }

    /// From the next frame on, a frame takes at most about `bitrate` / fps bits, with the fps that this was opened for
    /// whatever the pictures' real pace, and fewer where the picture is easy. With libx264 no keyframe comes of it; hardware that
    /// makes one of each new bitrate keeps to it within a fifth, and takes up a higher one later.
    pub fn set_bitrate(&mut self, bitrate: u64) {
        self.config.bitrate = bitrate;
    }
}

#[cfg(test)]
mod tests {
    use framewire_proto::{Frame, Times, h264};

    use super::{
        coder::{BITRATE, Kind},
        hardware::{
            psnr,
            tests::{LATE, REOPENS},
        },
        *,
    };
    use crate::media::{decode::Decoder, planes_mut};

    /// So wide that other colours would be taken for granted, were they not told.
    const CONFIG: Config = Config { width: 1280, height: 240, millifps: 30_000, bitrate: 4_000_000 };

    /// Bars of all colours from black to white over a gradient that moves by two pixels a picture.
    fn bars(number: usize) -> Picture {
        picture(|plane, x, y| match plane {
            0 if y < 60 => [0, 255, 29, 76, 150, 178, 105, 226][x / 160],
            0 => ((x + 2 * number) / 8 + y / 4) as u8,
            1 => [128, 128, 255, 85, 43, 171, 212, 1][x / 80],
            _ => [128, 128, 107, 255, 21, 1, 234, 149][x / 80],
        })
    }

    /// A picture that takes as many bits as it may have, and that nothing before it helps with.
    fn noise(number: usize) -> Picture {
        let mut state = number as u32 + 1;
        picture(|_, _, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
    }

    fn picture(mut value: impl FnMut(usize, usize, usize) -> u8) -> Picture {
        let (width, height) = (CONFIG.width, CONFIG.height);
        let mut data = vec![0; Codec::I420.raw_length(width, height).unwrap()];
        for (plane, values) in planes_mut(&mut data, width, height).into_iter().enumerate() {
            let width = if plane == 0 { width } else { width / 2 } as usize;
            values.iter_mut().enumerate().for_each(|(at, to)| *to = value(plane, at % width, at / width));
        }
        Picture::new(Codec::I420, width, height, data.into()).unwrap()
    }

    /// What the decoder makes of a frame.
    fn decoded(decoder: &mut Decoder, number: usize, coded: &Encoded) -> Picture {
        let config = framewire_proto::Config {
            codec: Codec::H264,
            width: CONFIG.width as u16,
            height: CONFIG.height as u16,
            millifps: CONFIG.millifps,
            extra: Bytes::new(),
        };
        let (keyframe, data) = (coded.keyframe, coded.data.clone());
        let frame = Frame { sequence: number as u64, keyframe, times: Times::default(), data };
        decoder.decode(&config, &frame, Codec::I420).unwrap().expect("a picture at once").1
    }

    fn bits(coded: &Encoded) -> u64 {
        8 * coded.data.len() as u64
    }

    #[test]
    fn every_picture_comes_out_at_once_and_in_its_colours() {
        let (mut encoder, mut decoder) = (Encoder::open(CONFIG).unwrap(), Decoder::new());
        for number in 0..10 {
            let picture = bars(number);
            let coded = encoder.encode(&picture, false).unwrap();
            let shown = decoded(&mut decoder, number, &coded);
            for (plane, (due, got)) in picture.planes().into_iter().zip(shown.planes()).enumerate() {
                let psnr = psnr(due, got);
                assert!(psnr > 36.0, "picture {number}, plane {plane}: {psnr:.1} dB");
            }
        }
    }

    #[test]
    fn keyframes_come_when_asked_for_and_only_then_with_parameter_sets() {
        let mut encoder = Encoder::open(CONFIG).unwrap();
        let (mut early, mut late) = (Decoder::new(), Decoder::new());
        for number in 0..80 {
            // A cut every ten pictures; one of the keyframes comes at a cut, and two stand together.
            let picture = if number / 10 % 2 == 0 { bars(number) } else { noise(number) };
            let asked = [7, 30, 31].contains(&number);
            let coded = encoder.encode(&picture, asked).unwrap();
            assert_eq!(coded.keyframe, asked || number == 0, "frame {number}");
            let contents = h264::contents(&coded.data);
            assert_eq!(
                (contents.is_keyframe(), contents.parameter_sets),
                (coded.keyframe, coded.keyframe),
                "frame {number}"
            );
            let shown = decoded(&mut early, number, &coded);
            if number >= 30 {
                assert!(decoded(&mut late, number, &coded) == shown, "frame {number} is another for who came late");
            }
        }
    }

    #[test]
    fn frames_keep_within_a_bitrate_that_changes_without_a_keyframe() {
        let mut encoder = Encoder::open(CONFIG).unwrap();
        let phases = [4_000_000, 1_000_000, 500_000, 8_000_000];
        for (phase, bitrate) in phases.into_iter().enumerate() {
            encoder.set_bitrate(bitrate);
            let sizes: Vec<u64> = (0..30)
                .map(|number| {
                    let coded = encoder.encode(&noise(30 * phase + number), false).unwrap();
                    assert_eq!(coded.keyframe, phase == 0 && number == 0);
                    bits(&coded)
                })
                .collect();
            let due = bitrate / 30;
            let (largest, mean) = (sizes.iter().max().unwrap(), sizes[1..].iter().sum::<u64>() / 29);
            assert!(*largest <= due * 12 / 10, "{bitrate} bit/s: {largest} bits of {due}: {sizes:?}");
            assert!(mean >= due * 6 / 10, "{bitrate} bit/s: {mean} bits of {due} in the mean: {sizes:?}");
        }
    }

    #[test]
    fn a_keyframe_is_no_larger_than_the_other_frames_may_be() {
        let mut encoder = Encoder::open(CONFIG).unwrap();
        for number in 0..20 {
            let size = bits(&encoder.encode(&noise(number), number % 5 == 4).unwrap());
            assert!(size <= CONFIG.bitrate / 30 * 12 / 10, "frame {number}: {size} bits");
        }
    }

    #[test]
    fn an_easy_picture_takes_few_of_the_bits_it_may_have() {
        let mut encoder = Encoder::open(Config { bitrate: 50_000_000, ..CONFIG }).unwrap();
        for number in 0..20 {
            // The last bit is noise, which nobody sees.
            let (bars, noise) = (bars(number), noise(number));
            let data: Vec<u8> =
                bars.data().iter().zip(noise.data()).map(|(value, noise)| value ^ (noise & 1)).collect();
            let picture = Picture::new(Codec::I420, CONFIG.width, CONFIG.height, data.into()).unwrap();
            let size = bits(&encoder.encode(&picture, false).unwrap());
            assert!(size < 50_000_000 / 30 / 4, "frame {number}: {size} bits");
        }
    }

    #[test]
    fn pictures_of_another_size_or_layout_are_errors_and_the_next_is_fine() {
        let mut encoder = Encoder::open(CONFIG).unwrap();
        let picture = |codec: Codec, width, height| {
            let data = vec![100; codec.raw_length(width, height).unwrap()];
            Picture::new(codec, width, height, data.into()).unwrap()
        };
        for wrong in
            [picture(Codec::I420, 1282, 240), picture(Codec::I420, 240, 1280), picture(Codec::Bgr24, 1280, 240)]
        {
            let error = encoder.encode(&wrong, false).unwrap_err().to_string();
            assert!(error.contains("i420 of 1280x240") && error.contains("open another"), "{error}");
        }
        assert!(encoder.encode(&picture(Codec::I420, 1280, 240), false).unwrap().keyframe);
    }

    #[test]
    fn odd_and_impossible_sizes_are_refused_in_words() {
        let open = |width, height| Encoder::open(Config { width, height, ..CONFIG }).map(drop);
        let error = open(97, 63).unwrap_err().to_string();
        assert!(error.contains("97x63") && error.contains("98x64"), "{error}");
        for (width, height) in [(0, 0), (2, 0), (9000, 2), (u32::MAX - 1, 2)] {
            assert!(open(width, height).is_err(), "{width}x{height}");
        }
        for (width, height) in [(2, 2), (2, 720), (98, 64), (8192, 2)] {
            open(width, height).unwrap();
        }
    }

    #[test]
    fn any_bitrate_and_frame_rate_will_do() {
        for (millifps, bitrate) in [(0, 0), (1, u64::MAX), (u32::MAX, 1), (u32::MAX, u64::MAX), (1000, BITRATE)] {
            let mut encoder = Encoder::open(Config { millifps, bitrate, ..CONFIG }).unwrap();
            for (number, bitrate) in [bitrate, 0, u64::MAX, 1_000_000].into_iter().enumerate() {
                encoder.set_bitrate(bitrate);
                assert!(!encoder.encode(&noise(number), false).unwrap().data.is_empty());
            }
        }
    }

    #[test]
    fn a_missing_encoder_is_named_with_what_to_install() {
        static MISSING: Kind = Kind { name: c"libnothing", ..SOFTWARE };
        let error = Coder::open(&MISSING, CONFIG).map(drop).unwrap_err().to_string();
        assert!(error.contains("without libnothing") && error.contains("install"), "{error}");
    }

    /// An encoder that finds this before its next picture.
    fn found(mut encoder: Encoder, kind: &'static Kind, change: Change) -> Encoder {
        let coder = Coder::open(kind, encoder.config).unwrap();
        encoder.search = Some(Search::ended(Ready { coder, change }));
        encoder
    }

    #[test]
    fn hardware_that_was_found_takes_over_and_is_given_up_without_a_gap() {
        for (kind, change, in_the_end) in [(&REOPENS, Change::Keyframe, &REOPENS), (&LATE, Change::Nothing, &SOFTWARE)]
        {
            let mut encoder = Encoder::open(CONFIG).unwrap();
            let mut decoder = Decoder::new();
            for number in 0..12 {
                if number == 5 {
                    encoder = found(encoder, kind, change);
                }
                let picture = bars(number);
                let coded = encoder.encode(&picture, false).unwrap();
                assert_eq!(coded.keyframe, number == 0 || number == 5, "frame {number}");
                let shown = decoded(&mut decoder, number, &coded);
                assert!(psnr(picture.planes()[0], shown.planes()[0]) > 36.0, "frame {number}");
            }
            assert!(encoder.coder.is(in_the_end));
        }
    }

    #[test]
    fn bitrates_that_cost_a_keyframe_are_followed_in_steps() {
        let mut encoder = found(Encoder::open(CONFIG).unwrap(), &REOPENS, Change::Keyframe);
        let bitrates = (0..90).map(|number| match number {
            0..30 => 4_000_000 + 20_000 * (number % 10),
            30..60 => 1_000_000 + 10_000 * (number % 10),
            _ => 2_000_000,
        });
        let mut keyframes = Vec::new();
        for (number, bitrate) in bitrates.enumerate() {
            encoder.set_bitrate(bitrate);
            let coded = encoder.encode(&noise(number), false).unwrap();
            if coded.keyframe {
                keyframes.push(number);
            }
            assert!(bits(&coded) <= bitrate / 30 * 12 / 10, "frame {number}: {} bits", bits(&coded));
        }
        assert_eq!(keyframes, [0, 30, 89]);
    }
}
