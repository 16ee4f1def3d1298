//! Finds where H.264 access units are missing, by the gaps in `frame_num`.

use super::{IDR_SLICE, PPS, SPS, nal_units, unescaped};

/// The most sequence parameter sets (SPS) a stream may have (ITU-T H.264, section 7.4.2.1.1).
const MAX_SPS: usize = 32;
/// The most picture parameter sets (PPS) a stream may have (section 7.4.2.2).
const MAX_PPS: usize = 256;
/// The profiles whose SPS has fields for chroma format and scaling matrices (section 7.3.2.1.1).
const PROFILES_WITH_CHROMA: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Detects missing reference pictures: `frame_num` (section 7.4.3) rises by one for each reference picture. A missing
/// non-reference picture leaves no gap, and does no harm.
#[derive(Debug)]
pub struct GapDetector {
    sps: [Option<Sps>; MAX_SPS],
    /// For each PPS, the id of its SPS.
    sps_of_pps: [Option<u8>; MAX_PPS],
    /// The `frame_num` of the last reference picture.
    last: Option<u32>,
}

/// The fields of an SPS that concern `frame_num`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sps {
    /// Length of `frame_num` in bits.
    bits: u32,
    /// Whether the stream may leave numbers out, as streams with removed temporal layers do.
    gaps_allowed: bool,
    /// Whether each slice header has a `colour_plane_id` before `frame_num`.
    separate_colour_planes: bool,
}

impl Default for GapDetector {
    fn default() -> Self {
        Self { sps: [None; MAX_SPS], sps_of_pps: [None; MAX_PPS], last: None }
    }
}

impl GapDetector {
    /// Whether reference pictures are missing between the last access unit and this one. Call this for each access unit, in
    /// decoding order.
    ///
    /// Returns false if it cannot be known: without parameter sets, or if the SPS allows gaps. Two losses go unnoticed: all
    /// pictures between two keyframes, and a whole cycle of numbers (16 pictures or more). One false alarm is possible, after
    /// `memory_management_control_operation` 5 (all references dropped without a keyframe); no live encoder uses that.
    pub fn missing_before(&mut self, unit: &[u8]) -> bool {
        for (start, kind) in nal_units(unit) {
            let nal = &unit[start..];
            let mut bits = Bits::new(unescaped(&nal[1..]));
            match kind {
                SPS => {
                    if let Some((id, sps)) = Sps::read(&mut bits) {
                        self.sps[id] = Some(sps);
                    }
                }
                PPS => {
                    if let (Some(id @ 0..MAX_PPS), Some(sps @ 0..MAX_SPS)) = (bits.id(), bits.id()) {
                        self.sps_of_pps[id] = Some(sps as u8);
                    }
                }
                1..=IDR_SLICE => {
                    let reference = nal[0] & 0x60 != 0;
                    return self.slice(kind == IDR_SLICE, reference, &mut bits);
                }
                _ => {}
            }
        }
        false
    }

    /// Reads the start of a slice header (section 7.3.3). Returns whether pictures are missing before the slice.
    fn slice(&mut self, idr: bool, reference: bool, bits: &mut Bits<impl Iterator<Item = u8>>) -> bool {
        let Some((sps, frame_num)) = self.frame_num(bits) else {
            self.last = None;
            return false;
        };
        let next = |last: u32| (last + 1) % (1 << sps.bits);
        // The two fields of a frame have the same number.
        let follows = |last: u32| frame_num == last || frame_num == next(last);
        let gap = !idr && !sps.gaps_allowed && !self.last.is_none_or(follows);
        if reference || gap {
            self.last = Some(frame_num);
        }
        gap
    }

    fn frame_num(&self, bits: &mut Bits<impl Iterator<Item = u8>>) -> Option<(Sps, u32)> {
        let (_first_macroblock, _slice_type) = (bits.exp_golomb()?, bits.exp_golomb()?);
        let pps = bits.id().filter(|id| *id < MAX_PPS)?;
        let sps = self.sps[usize::from(self.sps_of_pps[pps]?)]?;
        if sps.separate_colour_planes {
            bits.bits(2)?;
        }
        Some((sps, bits.bits(sps.bits)?))
    }
}

impl Sps {
    /// Reads an SPS (section 7.3.2.1.1) as far as needed. Returns its id with it.
    fn read(bits: &mut Bits<impl Iterator<Item = u8>>) -> Option<(usize, Self)> {
        let profile = bits.bits(8)?;
        let _constraints_and_level = bits.bits(16)?;
        let id = bits.id().filter(|id| *id < MAX_SPS)?;
        let mut separate_colour_planes = false;
        if PROFILES_WITH_CHROMA.contains(&profile) {
            let chroma_format = bits.exp_golomb()?;
            separate_colour_planes = chroma_format == 3 && bits.flag()?;
            let (_luma_depth, _chroma_depth) = (bits.exp_golomb()?, bits.exp_golomb()?);
            let _lossless = bits.flag()?;
            if bits.flag()? {
                (0..if chroma_format == 3 { 12 } else { 8 }).try_for_each(|list| skip_scaling_list(bits, list))?;
            }
        }
        let frame_num_bits = bits.exp_golomb()?.checked_add(4).filter(|width| *width <= 16)?;
        match bits.exp_golomb()? {
            0 => drop(bits.exp_golomb()?),
            1 => {
                let _always_zero = bits.flag()?;
                let (_non_reference, _bottom) = (bits.exp_golomb()?, bits.exp_golomb()?);
                let cycle = bits.exp_golomb().filter(|cycle| *cycle < 256)?;
                (0..cycle).try_for_each(|_| bits.exp_golomb().map(drop))?;
            }
            _ => {}
        }
        let _max_reference_frames = bits.exp_golomb()?;
        Some((id, Self { bits: frame_num_bits, gaps_allowed: bits.flag()?, separate_colour_planes }))
    }
}

/// Skips a scaling list (section 7.3.2.1.1.1), if there is one.
fn skip_scaling_list(bits: &mut Bits<impl Iterator<Item = u8>>, list: u32) -> Option<()> {
    if !bits.flag()? {
        return Some(());
    }
    let mut last = 8;
    for _ in 0..if list < 6 { 16 } else { 64 } {
        // Each code is a signed difference: 1, 2, 3, 4 mean 1, -1, 2, -2 (section 9.1.1). The list ends early when the sum
        // of the differences is 0 modulo 256.
        let code = bits.exp_golomb()?;
        let half = (code / 2 + code % 2) as u8;
        last = if code % 2 == 1 { half.wrapping_add(last) } else { last.wrapping_sub(half) };
        if last == 0 {
            break;
        }
    }
    Some(())
}

/// Reads bits, the most significant bit of each byte first; returns `None` after the last bit.
struct Bits<I> {
    bytes: I,
    byte: u8,
    left: u32,
}

impl<I: Iterator<Item = u8>> Bits<I> {
    fn new(bytes: I) -> Self {
        Self { bytes, byte: 0, left: 0 }
    }

    fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            (self.byte, self.left) = (self.bytes.next()?, 8);
        }
        self.left -= 1;
        Some(self.byte >> self.left & 1 == 1)
    }

    /// A number of `count` bits, at most 32.
    fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |number, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    /// An Exp-Golomb code (section 9.1): n zeros, a one, then n more bits.
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }

    /// The id of a parameter set.
    fn id(&mut self) -> Option<usize> {
        self.exp_golomb().map(|id| id as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDR: u8 = 0x65;
    const REFERENCE: u8 = 0x41;
    const NON_REFERENCE: u8 = 0x01;

    /// A NAL unit written as words: `u8:100` is the number 100 in 8 bits, `7` is an Exp-Golomb code.
    fn nal(head: u8, words: &str) -> Vec<u8> {
        let code = |word: &str| {
            if let Some((width, number)) = word.strip_prefix('u').and_then(|word| word.split_once(':')) {
                return format!("{:0width$b}", number.parse::<u32>().unwrap(), width = width.parse().unwrap());
            }
            let code = format!("{:b}", word.parse::<u64>().unwrap() + 1);
            "0".repeat(code.len() - 1) + &code
        };
        let mut bits = words.split_whitespace().map(code).collect::<String>() + "1";
        bits += &"0".repeat(bits.len().next_multiple_of(8) - bits.len());
        let bytes = (0..bits.len()).step_by(8).map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap());
        let mut nal = vec![0, 0, 0, 1, head];
        for byte in bytes {
            if nal[4..].ends_with(&[0, 0]) && byte <= 3 {
                nal.push(3);
            }
            nal.push(byte);
        }
        nal
    }

    fn sps(words: &str) -> Vec<u8> {
        nal(0x67, words)
    }

    fn pps(id: u32, sequence: u32) -> Vec<u8> {
        nal(0x68, &format!("{id} {sequence}"))
    }

    /// A detector that has read the parameter sets of a baseline stream with 4 bits of `frame_num`.
    fn baseline(gaps_allowed: u32) -> GapDetector {
        let mut gaps = GapDetector::default();
        assert!(
            !gaps.missing_before(&[sps(&format!("u8:66 u16:30 0 0 2 1 u1:{gaps_allowed} 19 14")), pps(0, 0)].concat())
        );
        gaps
    }

    fn slice(gaps: &mut GapDetector, head: u8, number: u32) -> bool {
        // Padded with zeros, so that it contains escape bytes.
        gaps.missing_before(&nal(head, &format!("0 5 0 u4:{number} u32:0 u32:0")))
    }

    #[test]
    fn a_skipped_frame_num_is_a_gap() {
        let mut gaps = baseline(0);
        assert!(!slice(&mut gaps, IDR, 0));
        assert!((1..40).all(|number| !slice(&mut gaps, REFERENCE, number % 16)));
        assert!(slice(&mut gaps, REFERENCE, 9));
        // It is reported once; the next number continues from there.
        assert!(!slice(&mut gaps, REFERENCE, 10));
        assert!(!slice(&mut gaps, IDR, 0));
        // The keyframe between 3 and 1 is missing.
        assert!(!slice(&mut gaps, REFERENCE, 1) && !slice(&mut gaps, REFERENCE, 2) && !slice(&mut gaps, REFERENCE, 3));
        assert!(slice(&mut gaps, REFERENCE, 1));
    }

    #[test]
    fn a_missing_non_reference_picture_is_no_gap() {
        let mut gaps = baseline(0);
        assert!(!slice(&mut gaps, IDR, 0));
        assert!(
            !slice(&mut gaps, REFERENCE, 1)
                && !slice(&mut gaps, NON_REFERENCE, 2)
                && !slice(&mut gaps, NON_REFERENCE, 2)
        );
        assert!(!slice(&mut gaps, REFERENCE, 2));
        // A non-reference picture also reveals that a reference picture is missing.
        assert!(slice(&mut gaps, NON_REFERENCE, 4));
        assert!(!slice(&mut gaps, REFERENCE, 4));
    }

    #[test]
    fn two_fields_of_a_frame_share_a_number() {
        let mut gaps = baseline(0);
        assert!(!slice(&mut gaps, IDR, 0) && !slice(&mut gaps, REFERENCE, 0));
        assert!(!slice(&mut gaps, REFERENCE, 1) && !slice(&mut gaps, REFERENCE, 1));
    }

    #[test]
    fn no_gap_is_reported_without_parameter_sets_or_if_gaps_are_allowed() {
        let mut allowed = baseline(1);
        assert!(!slice(&mut allowed, IDR, 0) && !slice(&mut allowed, REFERENCE, 8));
        let mut unknown = GapDetector::default();
        assert!(!slice(&mut unknown, IDR, 0) && !slice(&mut unknown, REFERENCE, 8));
        // The detector starts in the middle of a stream; then a slice names a PPS that was never sent.
        let mut gaps = baseline(0);
        assert!(!slice(&mut gaps, REFERENCE, 5) && slice(&mut gaps, REFERENCE, 8));
        assert!(!gaps.missing_before(&nal(REFERENCE, "0 5 9 u4:1")) && !slice(&mut gaps, REFERENCE, 3));
    }

    #[test]
    fn each_sps_has_its_own_frame_num_length() {
        let mut gaps = GapDetector::default();
        gaps.missing_before(
            &[sps("u8:66 u16:30 3 6 2 1 u1:0"), sps("u8:66 u16:30 31 0 2 1 u1:0"), pps(255, 3), pps(1, 31)].concat(),
        );
        let mut slice = |head, words: &str| gaps.missing_before(&nal(head, words));
        assert!(!slice(IDR, "0 7 255 u10:0") && !slice(REFERENCE, "0 5 255 u10:1"));
        assert!(slice(REFERENCE, "0 5 255 u10:17"));
        assert!(!slice(IDR, "0 7 1 u4:0") && slice(REFERENCE, "0 5 1 u4:2"));
    }

    proptest! {
        #[test]
        fn an_sps_is_read_whatever_its_other_fields_are(
            profile in prop::sample::select(vec![66, 77, 88, 100, 110, 122, 244, 44]),
            (id, width, chroma, order) in (0_u32..32, 0_u32..=12, 0_u32..4, 0_u32..3),
            (separate, gaps_allowed) in (any::<bool>(), any::<bool>()),
            lists in prop::option::of(prop::collection::vec(prop::option::of(prop::collection::vec(-128_i32..128, 64)), 12)),
            cycle in prop::collection::vec(any::<u16>(), 0..20),
        ) {
            let mut words = vec![format!("u8:{profile} u16:31 {id}")];
            let with_chroma = profile >= 100 || profile == 44;
            if with_chroma {
                words.push(chroma.to_string());
                if chroma == 3 {
                    words.push(format!("u1:{}", u8::from(separate)));
                }
                words.push(format!("2 1 u1:0 u1:{}", u8::from(lists.is_some())));
                let count = if chroma == 3 { 12 } else { 8 };
                for (number, list) in lists.iter().flatten().take(count).enumerate() {
                    words.push(format!("u1:{}", u8::from(list.is_some())));
                    let (mut last, size) = (8, if number < 6 { 16 } else { 64 });
                    for delta in list.iter().flatten().take(size) {
                        words.push((if *delta > 0 { 2 * delta - 1 } else { -2 * delta }).to_string());
                        last = (last + delta).rem_euclid(256);
                        if last == 0 {
                            break;
                        }
                    }
                }
            }
            words.push(format!("{width} {order}"));
            match order {
                0 => words.push("9".into()),
                1 => {
                    words.push(format!("u1:0 3 4 {}", cycle.len()));
                    words.extend(cycle.iter().map(u16::to_string));
                }
                _ => {}
            }
            words.push(format!("4 u1:{} 79 44 u1:1", u8::from(gaps_allowed)));
            let mut gaps = GapDetector::default();
            gaps.missing_before(&sps(&words.join(" ")));
            let separate_colour_planes = with_chroma && chroma == 3 && separate;
            prop_assert_eq!(gaps.sps[id as usize], Some(Sps { bits: width + 4, gaps_allowed, separate_colour_planes }));
            prop_assert_eq!(gaps.sps.iter().flatten().count(), 1);
        }

        #[test]
        fn random_nal_units_neither_panic_nor_break_the_bounds(
            heads in prop::collection::vec((prop::sample::select(vec![0x67_u8, 0x68, IDR, REFERENCE, NON_REFERENCE]), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        ) {
            let mut gaps = baseline(0);
            for (head, bytes) in heads {
                gaps.missing_before(&[&[0, 0, 1, head][..], &bytes].concat());
            }
            prop_assert!(gaps.sps.iter().flatten().all(|sps| (4..=16).contains(&sps.bits)));
        }
    }
}
