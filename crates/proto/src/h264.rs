//! What an H.264 access unit contains, found without decoding: keyframe, parameter sets, recovery point.
//!
//! Access units are in Annex B format (ITU-T H.264, section 7.3.1 and annex B).

mod gaps;

use bytes::Bytes;
use memchr::memmem;

pub use gaps::GapDetector;

/// The start code before every NAL unit. Escape bytes keep it from appearing inside a NAL unit.
const START_CODE: [u8; 3] = [0, 0, 1];
// NAL unit types (table 7-1). Types 1 to 5 are slices.
const IDR_SLICE: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
/// The SEI payload type of a recovery point (annex D): it says from which picture on decoding is correct again.
const SEI_RECOVERY_POINT: usize = 6;

/// What an access unit contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Its picture.
    pub picture: Picture,
    /// A recovery point at this picture: an open GOP starts with one. Decoding can start here, but pictures that are displayed
    /// before this one may be damaged.
    pub recovery_point: bool,
    /// A recovery point some pictures later (gradual decoder refresh): the encoder refreshes a part of each picture and makes
    /// no keyframes. A damaged picture is correct again by then.
    pub gradual_refresh: bool,
    /// A sequence and a picture parameter set (SPS and PPS). Decoding cannot start without them.
    pub parameter_sets: bool,
}

/// The picture of an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Picture {
    /// No picture: some encoders send parameter sets in an access unit of their own.
    #[default]
    None,
    /// A picture that is not an IDR picture. It may need earlier pictures, or later pictures may need still earlier ones.
    Dependent,
    /// An IDR picture: decoding can start here, and no later picture needs an earlier one. The first picture of an open GOP
    /// is not one, because some later pictures need earlier ones.
    Keyframe,
}

/// Returns what this access unit contains; an empty [`Contents`] if the bytes are no access unit. Reads nothing after the first
/// slice's NAL type.
pub fn contents(unit: &[u8]) -> Contents {
    let (mut sps, mut pps) = (false, false);
    let (mut recovery, mut picture) = (None, Picture::None);
    for (start, kind) in nal_units(unit) {
        match kind {
            SEI => recovery = recovery.or_else(|| recovery_point(&unit[start + 1..])),
            SPS => sps = true,
            PPS => pps = true,
            slice @ 1..=IDR_SLICE => {
                picture = if slice == IDR_SLICE { Picture::Keyframe } else { Picture::Dependent };
                break;
            }
            _ => {}
        }
    }
    Contents {
        picture,
        recovery_point: recovery == Some(Recovery::Here),
        gradual_refresh: recovery == Some(Recovery::Later),
        parameter_sets: sps && pps,
    }
}

impl Contents {
    /// Whether the picture is an IDR picture.
    pub fn is_keyframe(self) -> bool {
        self.picture == Picture::Keyframe
    }

    /// Whether decoding can start here.
    pub fn is_random_access_point(self) -> bool {
        self.is_keyframe() || self.recovery_point
    }
}

/// From which picture on decoding is correct, if it starts at a recovery point.
#[derive(PartialEq, Eq)]
enum Recovery {
    /// From this picture on.
    Here,
    /// From a later picture on.
    Later,
}

/// The recovery point among these SEI messages (section 7.3.2.3).
fn recovery_point(messages: &[u8]) -> Option<Recovery> {
    let mut bytes = unescaped(messages);
    loop {
        let (kind, length) = (sei_number(&mut bytes)?, sei_number(&mut bytes)?);
        let mut payload = bytes.by_ref().take(length);
        if kind == SEI_RECOVERY_POINT {
            // The payload starts with the number of frames until recovery, an Exp-Golomb code. Zero is a single set bit.
            return payload.next().map(|first| if first & 0x80 != 0 { Recovery::Here } else { Recovery::Later });
        }
        if payload.by_ref().count() < length {
            return None;
        }
    }
}

/// A type or length in an SEI message: the sum of its bytes up to the first that is not 255.
fn sei_number(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut sum = 0;
    loop {
        let byte = bytes.next()?;
        sum += usize::from(byte);
        if byte != 0xFF {
            return Some(sum);
        }
    }
}

/// The bytes up to the end of the NAL unit, without emulation prevention bytes (section 7.4.1).
fn unescaped(unit: &[u8]) -> impl Iterator<Item = u8> {
    let end = memmem::find(unit, &START_CODE).unwrap_or(unit.len());
    let mut zeros = 0;
    unit[..end].iter().copied().filter(move |byte| {
        let escape = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !escape
    })
}

/// Copies the parameter sets before this access unit's picture, in Annex B format; empty if there are none.
pub fn parameter_sets(unit: &[u8]) -> Bytes {
    let mut sets = Vec::new();
    let mut units = nal_units(unit).peekable();
    while let Some((start, kind)) = units.next_if(|(_, kind)| !(1..=IDR_SLICE).contains(kind)) {
        if matches!(kind, SPS | PPS) {
            let end = units.peek().map_or(unit.len(), |(next, _)| next - START_CODE.len());
            let nal = &unit[start..end];
            // A NAL unit ends with a set bit, so zero bytes after it belong to the next start code.
            let length = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            sets.extend_from_slice(&[0, 0, 0, 1]);
            sets.extend_from_slice(&nal[..length]);
        }
    }
    sets.into()
}

/// For each NAL unit: the position of its first byte (after the start code), and its type.
fn nal_units(unit: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    memmem::find_iter(unit, &START_CODE).filter_map(|at| {
        let start = at + START_CODE.len();
        unit.get(start).map(|head| (start, head & 0x1F))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPS_NAL: &[u8] = &[0, 0, 0, 1, 0x67, 0x64, 0x00, 0x1F, 0xAC];
    const PPS_NAL: &[u8] = &[0, 0, 0, 1, 0x68, 0xEB, 0xE3];
    const DELIMITER_NAL: &[u8] = &[0, 0, 0, 1, 0x09, 0x10];
    const RECOVERY_NAL: &[u8] = &[0, 0, 1, 0x06, 0x06, 0x01, 0xC4, 0x80];
    const SEI_NAL: &[u8] = &[0, 0, 1, 0x06, 0x05, 0x04, 0x67, 0x68, 0x65, 0x41, 0x80];
    const IDR_NAL: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 3, 1, 0x67];
    const SLICE_NAL: &[u8] = &[0, 0, 1, 0x41, 0x9A, 0x24];

    fn expected(keyframe: bool, parameter_sets: bool) -> Contents {
        let picture = if keyframe { Picture::Keyframe } else { Picture::Dependent };
        Contents { picture, parameter_sets, ..Contents::default() }
    }

    #[test]
    fn decoding_of_an_open_gop_can_start_at_its_recovery_point() {
        let recovery_point = |parts: &[&[u8]]| contents(&parts.concat()).recovery_point;
        assert!(
            recovery_point(&[SPS_NAL, PPS_NAL, RECOVERY_NAL, SLICE_NAL])
                && recovery_point(&[SEI_NAL, RECOVERY_NAL, SLICE_NAL])
        );
        // After another message in the same NAL unit. That message contains an escape byte.
        assert!(recovery_point(&[&[0, 0, 1, 0x06, 0x05, 0x04, 0, 0, 3, 1, 9, 0x06, 0x01, 0xC4, 0x80], SLICE_NAL]));
        // Truncated; no recovery point message; after the picture.
        for parts in [&[&RECOVERY_NAL[..5], SLICE_NAL][..], &[SEI_NAL, SLICE_NAL], &[SLICE_NAL, RECOVERY_NAL]] {
            assert!(!recovery_point(parts), "{parts:?}");
            assert!(!contents(&parts.concat()).gradual_refresh, "{parts:?}");
        }
        // The recovery point is some pictures later.
        let later = contents(&[&[0, 0, 1, 0x06, 0x06, 0x01, 0x44, 0x80], SLICE_NAL].concat());
        assert!(later.gradual_refresh && !later.is_random_access_point());
        assert!(!recovery_point(&[&[0, 0, 1, 0x06, 0xFF, 0xFF], &[0, 0, 1, 0x06, 0x05, 0xFF, 0x01, 0x06]]));
    }

    #[test]
    fn a_keyframe_is_an_idr_picture_with_or_without_parameter_sets() {
        assert_eq!(
            contents(&[DELIMITER_NAL, SPS_NAL, PPS_NAL, SEI_NAL, IDR_NAL, IDR_NAL].concat()),
            expected(true, true)
        );
        assert_eq!(contents(&[SEI_NAL, IDR_NAL].concat()), expected(true, false));
        assert_eq!(contents(&[SPS_NAL, IDR_NAL].concat()), expected(true, false));
        assert_eq!(contents(&[DELIMITER_NAL, SLICE_NAL, SLICE_NAL].concat()), expected(false, false));
        assert_eq!(contents(&[SPS_NAL, PPS_NAL, SLICE_NAL].concat()), expected(false, true));
        assert_eq!(
            contents(&[SPS_NAL, PPS_NAL].concat()),
            Contents { picture: Picture::None, ..expected(false, true) }
        );
    }

    #[test]
    fn parameter_sets_are_copied_without_other_nal_units() {
        let sets = [SPS_NAL, PPS_NAL].concat();
        let short = [&SPS_NAL[1..], &[0, 0], &PPS_NAL[1..], &[0]].concat();
        assert_eq!(parameter_sets(&[DELIMITER_NAL, &short, SEI_NAL, IDR_NAL].concat()), sets);
        assert_eq!(parameter_sets(&sets), sets);
        assert_eq!(parameter_sets(&[SEI_NAL, IDR_NAL].concat()), Bytes::new());
    }

    #[test]
    fn bytes_that_are_no_access_unit_have_empty_contents() {
        for bytes in [&[][..], &[0], &[0, 0, 1], &[0, 0, 0, 1], &[0xFF, 0xD8, 0xFF], &[0; 64]] {
            assert_eq!(contents(bytes), Contents::default());
            assert_eq!(parameter_sets(bytes), Bytes::new());
        }
    }

    proptest! {
        #[test]
        fn the_copied_parameter_sets_parse_as_parameter_sets(
            parts in prop::collection::vec(prop::sample::select(vec![SPS_NAL, PPS_NAL, SEI_NAL, RECOVERY_NAL, SLICE_NAL, &[0, 0, 1], &[0x67], &[0]]), 0..12),
        ) {
            let unit = parts.concat();
            let sets = parameter_sets(&unit);
            prop_assert_eq!(parameter_sets(&sets), sets.clone());
            prop_assert_eq!(contents(&sets).parameter_sets, contents(&unit).parameter_sets);
            prop_assert!(!contents(&sets).is_keyframe());
        }
    }
}
