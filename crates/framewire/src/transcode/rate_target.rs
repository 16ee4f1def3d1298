//! From the bitrate that a link allows to the next frame's codec, JPEG quality, H.264 bitrate and size.

use framewire_proto::{Codec, Config, Micros};

/// Frames per second where the stream does not state them.
const DEFAULT_FPS: u64 = 30;
/// The lowest JPEG quality. Below it, a smaller picture looks better.
const MIN_QUALITY: u8 = 20;
/// The target, in percent of the bitrate that full-quality JPEGs need, from which JPEG replaces H.264.
const TO_JPEG_PERCENT: u64 = 200;
/// The target, in percent of the bitrate that full-quality JPEGs need, below which H.264 replaces JPEG.
const KEEP_JPEG_PERCENT: u64 = 110;
/// How long the target must allow JPEG before it replaces H.264, in µs: the first wait, and the longest. Each change to JPEG
/// doubles the wait, so that a link near the limit does not switch back and forth.
const TO_JPEG_AFTER: [Micros; 2] = [5_000_000, 80_000_000];
/// The H.264 bitrate is at most this multiple of the target: most frames leave some of their share unused.
const MAX_HEADROOM: f64 = 1.12;
/// Where H.264 frames use nearly all they may, the bitrate is lowered until their mean is this multiple of the target.
const MEAN_HEADROOM: f64 = 1.04;
/// About how many frames that mean is taken over.
const MEAN_FRAMES: f64 = 32.0;
/// The H.264 bitrate limit, in bits per pixel. Above it no improvement is visible.
const MAX_BITS_PER_PIXEL: f64 = 0.9;
/// The same for small pictures, in bits per second: below it a keyframe does not fit and becomes grey.
const MAX_BITRATE_SMALL: u64 = 500_000;

/// Below this many thousandths of a bit per pixel H.264 smears, and half the width and height look better.
const SHRINK_BELOW: u64 = 20;
/// Above this many thousandths of a bit per pixel, counted at the larger size, pictures may grow again.
const GROW_ABOVE: u64 = 32;
/// The largest factor that width and height are divided by.
const MAX_SHRINK: u32 = 4;
/// Pictures grow again after this many frames that had room for it.
const GROW_AFTER_FRAMES: u32 = 60;

/// Decides how the next frame is encoded, from the target bitrate and the sizes of the frames before.
#[derive(Debug)]
pub(super) struct RateTarget {
    /// Bits per second that encoded frames may take; `None` while unknown.
    target: Option<u64>,
    /// The user's limit in bits per second.
    max_bitrate: Option<u64>,
    /// The JPEG quality that was asked for.
    full_quality: u8,
    /// The quality of the next JPEG.
    quality: u8,
    /// Bits per second that full-quality JPEGs take.
    jpeg_bitrate: Option<u64>,
    codec: Codec,
    /// What width and height are divided by.
    shrink: u32,
    /// How many frames in a row had room for a larger picture.
    frames_with_room: u32,
    /// The share of their limit that H.264 frames took lately, in the mean.
    used_share: f64,
    /// Since when the target allows JPEG again.
    jpeg_fits_since: Option<Micros>,
    to_jpeg_after: Micros,
}

impl RateTarget {
    pub(super) fn new(quality: u8, max_bitrate: Option<u64>) -> Self {
        Self {
            target: None,
            max_bitrate,
            full_quality: quality,
            quality,
            jpeg_bitrate: None,
            codec: Codec::Jpeg,
            shrink: 1,
            frames_with_room: 0,
            used_share: 0.0,
            jpeg_fits_since: None,
            to_jpeg_after: TO_JPEG_AFTER[0],
        }
    }

    /// Sets the bits per second that encoded frames may take; `None` while unknown.
    pub(super) fn set(&mut self, target: Option<u64>) {
        self.target = target;
    }

    /// The codec of the next frame, where the choice is free.
    pub(super) fn choose_codec(&mut self, now: Micros) -> Codec {
        let (Some(limit), Some(jpeg_bitrate)) = (self.limit(), self.jpeg_bitrate) else { return self.codec };
        if self.codec == Codec::Jpeg {
            // Here JPEGs that are too large become H.264, not JPEGs of less quality.
            (self.quality, self.shrink) = (self.full_quality, 1);
            if limit < jpeg_bitrate / 100 * KEEP_JPEG_PERCENT {
                self.codec = Codec::H264;
                self.jpeg_fits_since = None;
            }
        } else if limit < jpeg_bitrate / 100 * TO_JPEG_PERCENT {
            self.jpeg_fits_since = None;
        } else if now.saturating_sub(*self.jpeg_fits_since.get_or_insert(now)) >= self.to_jpeg_after {
            self.codec = Codec::Jpeg;
            self.to_jpeg_after = (2 * self.to_jpeg_after).min(TO_JPEG_AFTER[1]);
        }
        self.codec
    }

    /// Whether the next JPEG has the quality and size that were asked for.
    pub(super) fn is_full_quality(&self) -> bool {
        self.quality == self.full_quality && self.shrink == 1
    }

    /// The quality of the next JPEG.
    pub(super) fn quality(&self) -> u8 {
        self.quality
    }

    /// Counts a JPEG of the current quality and size, and adapts both to the target.
    pub(super) fn count_jpeg(&mut self, config: &Config, bytes: usize) {
        let bits = 8 * bytes as u64 * fps(config);
        if self.is_full_quality() {
            self.jpeg_bitrate = Some(self.jpeg_bitrate.map_or(bits, |before| before - before / 8 + bits / 8));
        }
        let Some(limit) = self.limit() else { return };
        let room = limit as f64 / bits.max(1) as f64;
        // A JPEG's size grows about with its quality to the power of 1.4. Quality falls at once and rises in small steps.
        self.quality = match room {
            room if room < 1.0 => (f64::from(self.quality) * room.powf(0.7)) as u8,
            room if room > 1.15 => self.quality.saturating_add(2),
            _ => self.quality,
        };
        let lowest = MIN_QUALITY.min(self.full_quality);
        let middle = self.full_quality.midpoint(lowest);
        if self.quality < lowest {
            self.shrink_pictures(middle);
        } else if self.quality >= middle && room > 1.15 {
            self.grow_pictures(lowest);
        }
        self.quality = self.quality.clamp(lowest, self.full_quality);
    }

    /// What the width and height of the next JPEG are divided by.
    pub(super) fn jpeg_shrink(&self) -> u32 {
        self.shrink
    }

    /// What the width and height of the next H.264 frame are divided by, for pictures of `pixels` pixels.
    pub(super) fn h264_shrink(&mut self, pixels: u64, config: &Config) -> u32 {
        let pixels = pixels * fps(config);
        let shrink = u64::from(self.shrink);
        let bits = 1000 * self.bitrate(config);
        if bits * shrink * shrink < pixels * SHRINK_BELOW {
            self.shrink_pictures(self.quality);
        } else if bits * (shrink / 2).max(1).pow(2) > pixels * GROW_ABOVE {
            self.grow_pictures(self.quality);
        } else {
            self.frames_with_room = 0;
        }
        self.shrink
    }

    /// Halves the width and height, down to the smallest size. The next JPEG has this quality.
    fn shrink_pictures(&mut self, quality: u8) {
        self.frames_with_room = 0;
        if self.shrink < MAX_SHRINK {
            self.shrink *= 2;
            self.quality = quality;
        }
    }

    /// Doubles the width and height once enough frames had room for it. The next JPEG has this quality.
    fn grow_pictures(&mut self, quality: u8) {
        self.frames_with_room += 1;
        if self.shrink > 1 && self.frames_with_room >= GROW_AFTER_FRAMES {
            self.frames_with_room = 0;
            self.shrink /= 2;
            self.quality = quality;
        }
    }

    /// The bits per second that an H.264 encoder is given.
    pub(super) fn bitrate(&self, config: &Config) -> u64 {
        let pixels = f64::from(config.width) * f64::from(config.height);
        let highest = (pixels * fps(config) as f64 * MAX_BITS_PER_PIXEL) as u64;
        let highest = highest.max(MAX_BITRATE_SMALL);
        let headroom = MAX_HEADROOM.min(MEAN_HEADROOM / self.used_share.max(0.01));
        self.limit().map_or(highest, |limit| ((limit as f64 * headroom) as u64).min(highest))
    }

    /// Counts an H.264 frame of this size.
    pub(super) fn count_h264(&mut self, config: &Config, bytes: usize) {
        let limit = self.bitrate(config) as f64 / fps(config) as f64;
        self.used_share += (8.0 * bytes as f64 / limit.max(1.0) - self.used_share) / MEAN_FRAMES;
    }

    fn limit(&self) -> Option<u64> {
        [self.target, self.max_bitrate].into_iter().flatten().min()
    }
}

fn fps(config: &Config) -> u64 {
    if config.millifps == 0 { DEFAULT_FPS } else { u64::from(config.millifps).div_ceil(1000) }
}

#[cfg(test)]
mod tests {

    use super::*;

    const CONFIG: Config = Config::new(Codec::Jpeg, 1280, 720, 30_000);
    /// At 30 frames per second, 24 Mbit/s of JPEGs.
    const BYTES: usize = 100_000;
    const SECOND: Micros = 1_000_000;

    #[test]
    fn h264_replaces_jpeg_on_a_slow_link_until_the_link_is_fast_for_a_while() {
        let mut rate = RateTarget::new(80, None);
        assert_eq!(rate.choose_codec(0), Codec::Jpeg, "no target is known");
        rate.count_jpeg(&CONFIG, BYTES);
        rate.set(Some(30_000_000));
        assert_eq!(rate.choose_codec(0), Codec::Jpeg);
        rate.set(Some(20_000_000));
        assert_eq!(rate.choose_codec(0), Codec::H264);
        rate.set(Some(60_000_000));
        assert_eq!(rate.choose_codec(SECOND), Codec::H264);
        assert_eq!(rate.choose_codec(5 * SECOND), Codec::H264);
        assert_eq!(rate.choose_codec(6 * SECOND), Codec::Jpeg);
        rate.set(Some(20_000_000));
        assert_eq!(rate.choose_codec(7 * SECOND), Codec::H264);
        rate.set(Some(60_000_000));
        assert_eq!(rate.choose_codec(8 * SECOND), Codec::H264);
        assert_eq!(rate.choose_codec(14 * SECOND), Codec::H264, "the second wait is twice as long");
        assert_eq!(rate.choose_codec(18 * SECOND), Codec::Jpeg);
    }

    #[test]
    fn jpeg_quality_falls_until_frames_fit_and_rises_again() {
        let mut rate = RateTarget::new(80, None);
        // A JPEG's size grows with its quality to the power of 1.4.
        let size = |rate: &RateTarget| (BYTES as f64 * (f64::from(rate.quality()) / 80.0).powf(1.4)) as usize;
        rate.set(Some(12_000_000));
        for _ in 0..10 {
            rate.count_jpeg(&CONFIG, size(&rate));
        }
        assert!((40..=52).contains(&rate.quality()), "{}", rate.quality());
        rate.set(Some(1_000_000));
        for _ in 0..10 {
            rate.count_jpeg(&CONFIG, size(&rate));
        }
        assert_eq!(rate.quality(), MIN_QUALITY);
        rate.set(None);
        rate.set(Some(100_000_000));
        for _ in 0..60 {
            rate.count_jpeg(&CONFIG, size(&rate));
        }
        assert_eq!(rate.quality(), 80);
    }

    #[test]
    fn pictures_shrink_on_the_slowest_links_and_grow_again_after_a_while() {
        let mut rate = RateTarget::new(80, None);
        let mut shrink = |target| {
            rate.set(Some(target));
            rate.h264_shrink(1280 * 720, &CONFIG)
        };
        assert_eq!(shrink(1_000_000), 1);
        assert_eq!(shrink(400_000), 2);
        assert_eq!(shrink(600_000), 2, "too little to grow again");
        assert_eq!(shrink(2_000_000), 2, "too short to grow again");
        let shrunk = (0..200).map(|_| shrink(2_000_000)).filter(|shrink| *shrink == 2).count();
        assert!((20..100).contains(&shrunk), "{shrunk}");
        assert_eq!(shrink(100_000), 2);
        assert_eq!(shrink(100_000), 4);
        assert_eq!(shrink(1_000), 4, "the smallest size");
    }

    #[test]
    fn jpegs_that_do_not_fit_at_the_lowest_quality_shrink() {
        let mut rate = RateTarget::new(80, None);
        rate.set(Some(2_000_000));
        for _ in 0..20 {
            let shrink = usize::try_from(rate.jpeg_shrink()).unwrap();
            let bytes = BYTES as f64 * (f64::from(rate.quality()) / 80.0).powf(1.4);
            rate.count_jpeg(&CONFIG, bytes as usize / shrink / shrink);
        }
        assert!(rate.jpeg_shrink() > 1 && !rate.is_full_quality(), "{}", rate.jpeg_shrink());
        rate.set(Some(100_000_000));
        for _ in 0..400 {
            let shrink = usize::try_from(rate.jpeg_shrink()).unwrap();
            rate.count_jpeg(&CONFIG, BYTES / shrink / shrink);
        }
        assert!(rate.is_full_quality());
    }

    #[test]
    fn h264_bitrate_follows_the_target_up_to_the_visible_and_the_user_limit() {
        let mut rate = RateTarget::new(80, None);
        assert!((20_000_000..30_000_000).contains(&rate.bitrate(&CONFIG)));
        rate.set(Some(2_000_000));
        assert_eq!(rate.bitrate(&CONFIG), 2_240_000);
        let mut rate = RateTarget::new(80, Some(1_000_000));
        rate.set(Some(2_000_000));
        assert_eq!(rate.bitrate(&CONFIG), 1_120_000);
    }

    #[test]
    fn h264_that_uses_all_it_may_gets_a_lower_bitrate_to_stay_near_the_target() {
        let mut rate = RateTarget::new(80, None);
        rate.set(Some(2_000_000));
        let mut encode = |share: f64| {
            for _ in 0..200 {
                let bits = rate.bitrate(&CONFIG) as f64 / 30.0 * share;
                rate.count_h264(&CONFIG, (bits / 8.0) as usize);
            }
            (rate.bitrate(&CONFIG) as f64 * share) as u64
        };
        for share in [1.0, 0.95] {
            let taken = encode(share);
            assert!((2_060_000..2_100_000).contains(&taken), "{taken}");
        }
        assert_eq!(encode(0.5), 1_120_000, "an easy picture");
    }
}
