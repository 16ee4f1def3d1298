//! How large frames may be for their link, and what they are therefore coded in.

use framewire_proto::{Codec, Config, Micros, hysteresis::RaiseDelay};

/// Frames per second where they are not known.
const FPS: u64 = 30;
/// JPEGs are coded no worse than this: below, smaller pictures are the better choice.
const WORST: u8 = 20;
/// A link must carry this many hundredths of what JPEGs need to begin with them, and to go on with them.
const TO_JPEG: u64 = 200;
const KEEP_JPEG: u64 = 110;
/// How long it must do so before JPEGs are begun with again, in µs: at first, and at most when that has failed before.
const PATIENCE: [Micros; 2] = [5_000_000, 80_000_000];
/// H.264 frames may each have this many hundredths of their budget, for most of them leave some of it.
const ROOM: f64 = 1.12;
/// Where they leave little they may have less, so that in the mean they take no more than this share of it.
const MEAN: f64 = 1.04;
/// Frames over which that mean is taken, about.
const MEAN_OF: f64 = 32.0;
/// Bits per pixel beyond which nobody sees H.264 get better.
const BITS_PER_PIXEL: f64 = 0.9;

/// H.264 of fewer thousandths of a bit per pixel is smeared, and pictures of half the width and height look better; back when
/// they may have more than that many.
const SMEARED: u64 = 20;
const CLEAR: u64 = 32;
/// Pictures are made no smaller than by this factor, and larger again after so many frames that had room.
const SMALLEST: u32 = 4;
const ROOMY_FRAMES: u32 = 60;

/// What a link carries and what that means for the next frame.
#[derive(Debug)]
pub(super) struct RateTarget {
    /// Bits a second that the link carries; `None` while that is not known.
    target: Option<u64>,
    /// Bits a second at most, by hand.
    most: Option<u64>,
    /// The quality of JPEGs that was asked for, and that of the next.
    wanted: u8,
    quality: u8,
    /// Bits a second that JPEGs of the quality asked for take.
    jpegs: Option<u64>,
    codec: Codec,
    /// What width and height are divided by, and how many frames lately would have had room for larger ones.
    shrink: u32,
    roomy_frames: u32,
    /// How much of what they may have H.264 frames took lately.
    filled: f64,
    /// Waits until the link has carried JPEGs for long enough.
    back_to_jpeg: RaiseDelay,
}

impl RateTarget {
    pub(super) fn new(quality: u8, most: Option<u64>) -> Self {
        Self {
            target: None,
            most,
            wanted: quality,
            quality,
            jpegs: None,
            codec: Codec::Jpeg,
            shrink: 1,
            roomy_frames: 0,
            filled: 0.0,
            back_to_jpeg: RaiseDelay::new(PATIENCE[0], PATIENCE[1]),
        }
    }

    /// From now on the link carries this many bits a second.
    pub(super) fn target(&mut self, target: Option<u64>) {
        self.target = target;
    }

    /// The codec of the next frame, where that is free.
    pub(super) fn choose(&mut self, now: Micros) -> Codec {
        let (Some(target), Some(jpegs)) = (self.limit(), self.jpegs) else { return self.codec };
        if self.codec == Codec::Jpeg {
            // JPEGs that are too large are none, rather than worse.
            (self.quality, self.shrink) = (self.wanted, 1);
            if target < jpegs / 100 * KEEP_JPEG {
                self.codec = Codec::H264;
                self.back_to_jpeg.interrupt();
            }
        } else if target < jpegs / 100 * TO_JPEG {
            self.back_to_jpeg.interrupt();
        } else if self.back_to_jpeg.is_due(now) {
            self.codec = Codec::Jpeg;
            // If H.264 is needed again, this was too early: then wait longer.
            self.back_to_jpeg.lengthen();
        }
        self.codec
    }

    /// Whether the next JPEG may be as good as was asked for.
    pub(super) fn best(&self) -> bool {
        self.quality == self.wanted && self.shrink == 1
    }

    /// The quality of the next JPEG.
    pub(super) fn quality(&self) -> u8 {
        self.quality
    }

    /// A JPEG of this quality has so many bytes.
    pub(super) fn made(&mut self, config: &Config, bytes: usize) {
        let bits = 8 * bytes as u64 * fps(config);
        if self.best() {
            self.jpegs = Some(self.jpegs.map_or(bits, |before| before - before / 8 + bits / 8));
        }
        let Some(target) = self.limit() else { return };
        let room = target as f64 / bits.max(1) as f64;
        // Near the quality that fits, bytes go roughly with its power of 1.4; upward in small steps.
        self.quality = match room {
            room if room < 1.0 => (f64::from(self.quality) * room.powf(0.7)) as u8,
            room if room > 1.15 => self.quality.saturating_add(2),
            _ => self.quality,
        };
        let worst = WORST.min(self.wanted);
        if self.quality < worst {
            self.smaller(self.wanted.midpoint(worst));
        } else if self.quality >= self.wanted.midpoint(worst) && room > 1.15 {
            self.larger(worst);
        }
        self.quality = self.quality.clamp(worst, self.wanted);
    }

    /// What the width and height of the next JPEG are divided by.
    pub(super) fn side(&self) -> u32 {
        self.shrink
    }

    /// What the width and height of the next H.264 frame are divided by, for pictures of so many pixels.
    pub(super) fn shrink(&mut self, pixels: u64, config: &Config) -> u32 {
        let pixels = pixels * fps(config);
        let side = u64::from(self.shrink);
        let bits = 1000 * self.bitrate(config);
        if bits * side * side < pixels * SMEARED {
            self.smaller(self.quality);
        } else if bits * (side / 2).max(1).pow(2) > pixels * CLEAR {
            self.larger(self.quality);
        } else {
            self.roomy_frames = 0;
        }
        self.shrink
    }

    /// Pictures get smaller at once, if they may; JPEGs then have this quality.
    fn smaller(&mut self, quality: u8) {
        self.roomy_frames = 0;
        if self.shrink < SMALLEST {
            self.shrink *= 2;
            self.quality = quality;
        }
    }

    /// Pictures get larger once they could for a while.
    fn larger(&mut self, quality: u8) {
        self.roomy_frames += 1;
        if self.shrink > 1 && self.roomy_frames >= ROOMY_FRAMES {
            self.roomy_frames = 0;
            self.shrink /= 2;
            self.quality = quality;
        }
    }

    /// Bits a second for an H.264 encoder.
    pub(super) fn bitrate(&self, config: &Config) -> u64 {
        let pixels = f64::from(config.width) * f64::from(config.height);
        let best = (pixels * fps(config) as f64 * BITS_PER_PIXEL) as u64;
        let room = ROOM.min(MEAN / self.filled.max(0.01));
        self.limit().map_or(best, |limit| ((limit as f64 * room) as u64).min(best))
    }

    /// An H.264 frame has so many bytes.
    pub(super) fn coded(&mut self, config: &Config, bytes: usize) {
        let most = self.bitrate(config) as f64 / fps(config) as f64;
        self.filled += (8.0 * bytes as f64 / most.max(1.0) - self.filled) / MEAN_OF;
    }

    fn limit(&self) -> Option<u64> {
        [self.target, self.most].into_iter().flatten().min()
    }
}

fn fps(config: &Config) -> u64 {
    if config.millifps == 0 { FPS } else { u64::from(config.millifps).div_ceil(1000) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const CONFIG: Config =
        Config { codec: Codec::Jpeg, width: 1280, height: 720, millifps: 30_000, extra: Bytes::new() };
    /// What makes 24 Mbit/s of JPEGs.
    const BYTES: usize = 100_000;
    const SECOND: Micros = 1_000_000;

    #[test]
    fn a_link_that_does_not_carry_jpegs_gets_h264_until_it_does_for_a_while() {
        let mut aim = RateTarget::new(80, None);
        assert_eq!(aim.choose(0), Codec::Jpeg, "nothing is known");
        aim.made(&CONFIG, BYTES);
        aim.target(Some(30_000_000));
        assert_eq!(aim.choose(0), Codec::Jpeg);
        aim.target(Some(20_000_000));
        assert_eq!(aim.choose(0), Codec::H264);
        aim.target(Some(60_000_000));
        assert_eq!(aim.choose(SECOND), Codec::H264);
        assert_eq!(aim.choose(5 * SECOND), Codec::H264);
        assert_eq!(aim.choose(6 * SECOND), Codec::Jpeg);
        aim.target(Some(20_000_000));
        assert_eq!(aim.choose(7 * SECOND), Codec::H264);
        aim.target(Some(60_000_000));
        assert_eq!(aim.choose(8 * SECOND), Codec::H264);
        assert_eq!(aim.choose(14 * SECOND), Codec::H264, "it was wrong before");
        assert_eq!(aim.choose(18 * SECOND), Codec::Jpeg);
    }

    #[test]
    fn jpegs_get_worse_until_they_fit_and_better_again() {
        let mut aim = RateTarget::new(80, None);
        // Bytes go with the quality's power of 1.4.
        let made = |aim: &RateTarget| (BYTES as f64 * (f64::from(aim.quality()) / 80.0).powf(1.4)) as usize;
        aim.target(Some(12_000_000));
        for _ in 0..10 {
            aim.made(&CONFIG, made(&aim));
        }
        assert!((40..=52).contains(&aim.quality()), "{}", aim.quality());
        aim.target(Some(1_000_000));
        for _ in 0..10 {
            aim.made(&CONFIG, made(&aim));
        }
        assert_eq!(aim.quality(), WORST);
        aim.target(None);
        aim.target(Some(100_000_000));
        for _ in 0..60 {
            aim.made(&CONFIG, made(&aim));
        }
        assert_eq!(aim.quality(), 80);
    }

    #[test]
    fn pictures_get_smaller_on_the_slowest_links_and_larger_again_after_a_while() {
        let mut aim = RateTarget::new(80, None);
        let mut shrink = |target| {
            aim.target(Some(target));
            aim.shrink(1280 * 720, &CONFIG)
        };
        assert_eq!(shrink(1_000_000), 1);
        assert_eq!(shrink(400_000), 2);
        assert_eq!(shrink(600_000), 2, "not enough to turn back");
        assert_eq!(shrink(2_000_000), 2, "for a moment only");
        let turns = (0..200).map(|_| shrink(2_000_000)).filter(|shrink| *shrink == 2).count();
        assert!((20..100).contains(&turns), "{turns}");
        assert_eq!(shrink(100_000), 2);
        assert_eq!(shrink(100_000), 4);
        assert_eq!(shrink(1_000), 4, "no smaller");
    }

    #[test]
    fn jpegs_that_do_not_fit_at_their_worst_get_smaller() {
        let mut aim = RateTarget::new(80, None);
        aim.target(Some(2_000_000));
        for _ in 0..20 {
            let side = usize::try_from(aim.side()).unwrap();
            let bytes = BYTES as f64 * (f64::from(aim.quality()) / 80.0).powf(1.4);
            aim.made(&CONFIG, bytes as usize / side / side);
        }
        assert!(aim.side() > 1 && !aim.best(), "{}", aim.side());
        aim.target(Some(100_000_000));
        for _ in 0..400 {
            let side = usize::try_from(aim.side()).unwrap();
            aim.made(&CONFIG, BYTES / side / side);
        }
        assert!(aim.best());
    }

    #[test]
    fn h264_gets_what_the_link_carries_up_to_what_can_be_seen_or_was_allowed() {
        let mut aim = RateTarget::new(80, None);
        assert!((20_000_000..30_000_000).contains(&aim.bitrate(&CONFIG)));
        aim.target(Some(2_000_000));
        assert_eq!(aim.bitrate(&CONFIG), 2_240_000);
        let mut aim = RateTarget::new(80, Some(1_000_000));
        aim.target(Some(2_000_000));
        assert_eq!(aim.bitrate(&CONFIG), 1_120_000);
    }

    #[test]
    fn h264_that_takes_all_that_it_may_gets_less_so_that_the_link_keeps_up() {
        let mut aim = RateTarget::new(80, None);
        aim.target(Some(2_000_000));
        let mut code = |share: f64| {
            for _ in 0..200 {
                let bits = aim.bitrate(&CONFIG) as f64 / 30.0 * share;
                aim.coded(&CONFIG, (bits / 8.0) as usize);
            }
            (aim.bitrate(&CONFIG) as f64 * share) as u64
        };
        for share in [1.0, 0.95] {
            let taken = code(share);
            assert!((2_060_000..2_100_000).contains(&taken), "{taken}");
        }
        assert_eq!(code(0.5), 1_120_000, "an easy picture");
    }
}
