//! Where access units of H.264 are missing.

use super::{IDR, PICTURE_SET, SEQUENCE_SET, nal_units, unescaped};

/// How many sequence parameter sets there are at most (ITU-T H.264, section 7.4.2.1.1).
const SEQUENCES: usize = 32;
/// How many picture parameter sets there are at most (section 7.4.2.2).
const PICTURES: usize = 256;
/// The profiles whose sequence parameter sets tell of colours and of scaling (section 7.3.2.1.1).
const WITH_CHROMA: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// Follows the numbers of the pictures that others need, `frame_num` (section 7.4.3), and so tells where some are missing.
/// Those that no other needs leave no gap.
#[derive(Debug)]
pub struct Gaps {
    sequences: [Option<Sequence>; SEQUENCES],
    /// Which of the sequences a picture parameter set belongs to.
    pictures: [Option<u8>; PICTURES],
    /// The number of the last picture that others need.
    last: Option<u32>,
}

/// What a sequence parameter set says of `frame_num`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sequence {
    /// Its width in bits.
    bits: u32,
    /// Whether encoders leave numbers out, as those may whose temporal layers are thinned out.
    gaps_allowed: bool,
    /// Whether there is a colour's number before it.
    separate_colours: bool,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { sequences: [None; SEQUENCES], pictures: [None; PICTURES], last: None }
    }
}

impl Gaps {
    /// Whether pictures that others need are missing between the last access unit and this one, in the order in which they
    /// are decoded. False where that cannot be known: without parameter sets, or where gaps are allowed. As many as there are
    /// from one keyframe to the next go unnoticed, and so does a whole round of numbers, 16 or more. After an encoder has made all its pictures unneeded without a keyframe
    /// (`memory_management_control_operation` 5), which none that codes live does, there seems to be a gap.
    pub fn before(&mut self, unit: &[u8]) -> bool {
        for (start, kind) in nal_units(unit) {
            let nal = &unit[start..];
            let mut bits = Bits::new(unescaped(&nal[1..]));
            match kind {
                SEQUENCE_SET => {
                    if let Some((id, sequence)) = Sequence::read(&mut bits) {
                        self.sequences[id] = Some(sequence);
                    }
                }
                PICTURE_SET => {
                    if let (Some(id @ 0..PICTURES), Some(sequence @ 0..SEQUENCES)) = (bits.index(), bits.index()) {
                        self.pictures[id] = Some(sequence as u8);
                    }
                }
                1..=IDR => {
                    let needed = nal[0] & 0x60 != 0;
                    return self.slice(kind == IDR, needed, &mut bits);
                }
                _ => {}
            }
        }
        false
    }

    /// Reads the beginning of a slice's header (section 7.3.3).
    fn slice(&mut self, idr: bool, needed: bool, bits: &mut Bits<impl Iterator<Item = u8>>) -> bool {
        let Some((sequence, number)) = self.number(bits) else {
            self.last = None;
            return false;
        };
        let next = |last: u32| (last + 1) % (1 << sequence.bits);
        // Equal numbers are the two fields of a frame.
        let follows = |last: u32| number == last || number == next(last);
        let gap = !idr && !sequence.gaps_allowed && !self.last.is_none_or(follows);
        if needed || gap {
            self.last = Some(number);
        }
        gap
    }

    fn number(&self, bits: &mut Bits<impl Iterator<Item = u8>>) -> Option<(Sequence, u32)> {
        let (_first_macroblock, _kind) = (bits.exp_golomb()?, bits.exp_golomb()?);
        let picture_set = bits.index().filter(|id| *id < PICTURES)?;
        let sequence = self.sequences[usize::from(self.pictures[picture_set]?)]?;
        if sequence.separate_colours {
            bits.bits(2)?;
        }
        Some((sequence, bits.bits(sequence.bits)?))
    }
}

impl Sequence {
    /// Reads a sequence parameter set as far as is wanted (section 7.3.2.1.1), and which one it is.
    fn read(bits: &mut Bits<impl Iterator<Item = u8>>) -> Option<(usize, Self)> {
        let profile = bits.bits(8)?;
        let _constraints_and_level = bits.bits(16)?;
        let id = bits.index().filter(|id| *id < SEQUENCES)?;
        let mut separate_colours = false;
        if WITH_CHROMA.contains(&profile) {
            let chroma = bits.exp_golomb()?;
            separate_colours = chroma == 3 && bits.flag()?;
            let (_luma_depth, _chroma_depth) = (bits.exp_golomb()?, bits.exp_golomb()?);
            let _lossless = bits.flag()?;
            if bits.flag()? {
                (0..if chroma == 3 { 12 } else { 8 }).try_for_each(|list| scaling_list(bits, list))?;
            }
        }
        let width = bits.exp_golomb()?.checked_add(4).filter(|width| *width <= 16)?;
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
        let _references = bits.exp_golomb()?;
        Some((id, Self { bits: width, gaps_allowed: bits.flag()?, separate_colours }))
    }
}

/// Passes over a scaling list (section 7.3.2.1.1.1), if there is one.
fn scaling_list(bits: &mut Bits<impl Iterator<Item = u8>>, list: u32) -> Option<()> {
    if !bits.flag()? {
        return Some(());
    }
    let mut last = 8;
    for _ in 0..if list < 6 { 16 } else { 64 } {
        // The codes 1, 2, 3, 4 stand for 1, -1, 2, -2 (section 9.1.1), and what is wanted is the sum's lowest byte.
        let code = bits.exp_golomb()?;
        let half = (code / 2 + code % 2) as u8;
        last = if code % 2 == 1 { half.wrapping_add(last) } else { last.wrapping_sub(half) };
        if last == 0 {
            break;
        }
    }
    Some(())
}

/// Reads bits, the highest of each byte first; `None` behind the last.
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

    /// A number of so many bits, 32 at most.
    fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |number, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    /// An Exp-Golomb code (section 9.1): as many bits behind the first that is set as zeros before it.
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

    /// One of those that says which parameter set is meant.
    fn index(&mut self) -> Option<usize> {
        self.exp_golomb().map(|id| id as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDR_NEEDED: u8 = 0x65;
    const NEEDED: u8 = 0x41;
    const UNNEEDED: u8 = 0x01;

    /// Bits in words: `u8:100` is a number of so many bits, `7` an Exp-Golomb code.
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

    /// A baseline stream whose numbers have four bits.
    fn baseline(gaps_allowed: u32) -> Gaps {
        let mut gaps = Gaps::default();
        assert!(!gaps.before(&[sps(&format!("u8:66 u16:30 0 0 2 1 u1:{gaps_allowed} 19 14")), pps(0, 0)].concat()));
        gaps
    }

    fn slice(gaps: &mut Gaps, head: u8, number: u32) -> bool {
        // Padded with zeros, so that there are escapes in it.
        gaps.before(&nal(head, &format!("0 5 0 u4:{number} u32:0 u32:0")))
    }

    #[test]
    fn a_number_left_out_is_a_gap() {
        let mut gaps = baseline(0);
        assert!(!slice(&mut gaps, IDR_NEEDED, 0));
        assert!((1..40).all(|number| !slice(&mut gaps, NEEDED, number % 16)));
        assert!(slice(&mut gaps, NEEDED, 9));
        // It is told once, and what follows follows.
        assert!(!slice(&mut gaps, NEEDED, 10));
        assert!(!slice(&mut gaps, IDR_NEEDED, 0));
        // The keyframe is missing.
        assert!(!slice(&mut gaps, NEEDED, 1) && !slice(&mut gaps, NEEDED, 2) && !slice(&mut gaps, NEEDED, 3));
        assert!(slice(&mut gaps, NEEDED, 1));
    }

    #[test]
    fn pictures_that_no_other_needs_leave_none() {
        let mut gaps = baseline(0);
        assert!(!slice(&mut gaps, IDR_NEEDED, 0));
        assert!(!slice(&mut gaps, NEEDED, 1) && !slice(&mut gaps, UNNEEDED, 2) && !slice(&mut gaps, UNNEEDED, 2));
        assert!(!slice(&mut gaps, NEEDED, 2));
        // One of them tells too that another is missing.
        assert!(slice(&mut gaps, UNNEEDED, 4));
        assert!(!slice(&mut gaps, NEEDED, 4));
    }

    #[test]
    fn two_fields_are_one_picture() {
        let mut gaps = baseline(0);
        assert!(!slice(&mut gaps, IDR_NEEDED, 0) && !slice(&mut gaps, NEEDED, 0));
        assert!(!slice(&mut gaps, NEEDED, 1) && !slice(&mut gaps, NEEDED, 1));
    }

    #[test]
    fn nothing_is_said_of_what_cannot_be_known() {
        let mut allowed = baseline(1);
        assert!(!slice(&mut allowed, IDR_NEEDED, 0) && !slice(&mut allowed, NEEDED, 8));
        let mut unknown = Gaps::default();
        assert!(!slice(&mut unknown, IDR_NEEDED, 0) && !slice(&mut unknown, NEEDED, 8));
        // Of a picture parameter set that never came, and in the middle of a stream.
        let mut gaps = baseline(0);
        assert!(!slice(&mut gaps, NEEDED, 5) && slice(&mut gaps, NEEDED, 8));
        assert!(!gaps.before(&nal(NEEDED, "0 5 9 u4:1")) && !slice(&mut gaps, NEEDED, 3));
    }

    #[test]
    fn each_sequence_has_its_width() {
        let mut gaps = Gaps::default();
        gaps.before(
            &[sps("u8:66 u16:30 3 6 2 1 u1:0"), sps("u8:66 u16:30 31 0 2 1 u1:0"), pps(255, 3), pps(1, 31)].concat(),
        );
        let mut slice = |head, words: &str| gaps.before(&nal(head, words));
        assert!(!slice(IDR_NEEDED, "0 7 255 u10:0") && !slice(NEEDED, "0 5 255 u10:1"));
        assert!(slice(NEEDED, "0 5 255 u10:17"));
        assert!(!slice(IDR_NEEDED, "0 7 1 u4:0") && slice(NEEDED, "0 5 1 u4:2"));
    }

    proptest! {
        #[test]
        fn a_sequence_is_read_whatever_else_it_says(
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
            let mut gaps = Gaps::default();
            gaps.before(&sps(&words.join(" ")));
            let separate_colours = with_chroma && chroma == 3 && separate;
            prop_assert_eq!(gaps.sequences[id as usize], Some(Sequence { bits: width + 4, gaps_allowed, separate_colours }));
            prop_assert_eq!(gaps.sequences.iter().flatten().count(), 1);
        }

        #[test]
        fn anything_else_is_no_sequence_and_nothing_to_fall_over(
            heads in prop::collection::vec((prop::sample::select(vec![0x67_u8, 0x68, IDR_NEEDED, NEEDED, UNNEEDED]), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        ) {
            let mut gaps = baseline(0);
            for (head, bytes) in heads {
                gaps.before(&[&[0, 0, 1, head][..], &bytes].concat());
            }
            prop_assert!(gaps.sequences.iter().flatten().all(|sequence| (4..=16).contains(&sequence.bits)));
        }
    }
}
