//! What an access unit of H.264 in Annex B form holds (ITU-T H.264, section 7.3.1 and annex B), without decoding it.

use bytes::Bytes;
use memchr::memmem;

/// What stands before every NAL unit. Inside one it cannot stand.
const START: [u8; 3] = [0, 0, 1];
// Types of NAL units (table 7-1).
const IDR: u8 = 5;
const SEQUENCE_SET: u8 = 7;
const PICTURE_SET: u8 = 8;

/// What an access unit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// An IDR picture: decoding can begin here, and nothing from here on needs what was before. Pictures that only some of
    /// what follows can do without, as open GOPs have them, do not count.
    pub keyframe: bool,
    /// A sequence and a picture parameter set, without which decoding cannot begin.
    pub parameter_sets: bool,
}

/// What this access unit holds; nothing, if it is none. What follows the first slice's header is not read.
pub fn contents(unit: &[u8]) -> Contents {
    let (mut sequence, mut picture) = (false, false);
    let mut keyframe = false;
    for (_, kind) in nal_units(unit) {
        match kind {
            SEQUENCE_SET => sequence = true,
            PICTURE_SET => picture = true,
            slice @ 1..=IDR => {
                keyframe = slice == IDR;
                break;
            }
            _ => {}
        }
    }
    Contents { keyframe, parameter_sets: sequence && picture }
}

/// The parameter sets before the picture of this access unit, in Annex B form; empty where there are none.
pub fn parameter_sets(unit: &[u8]) -> Bytes {
    let mut sets = Vec::new();
    let mut units = nal_units(unit).peekable();
    while let Some((start, kind)) = units.next_if(|(_, kind)| !(1..=IDR).contains(kind)) {
        if matches!(kind, SEQUENCE_SET | PICTURE_SET) {
            let end = units.peek().map_or(unit.len(), |(next, _)| next - START.len());
            let nal = &unit[start..end];
            // A unit ends with a bit that is set; zeros after it belong to the next start code.
            let length = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            sets.extend_from_slice(&[0, 0, 0, 1]);
            sets.extend_from_slice(&nal[..length]);
        }
    }
    sets.into()
}

/// Where each NAL unit begins, behind its start code, and its type.
fn nal_units(unit: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    memmem::find_iter(unit, &START).filter_map(|at| {
        let start = at + START.len();
        unit.get(start).map(|head| (start, head & 0x1F))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x64, 0x00, 0x1F, 0xAC];
    const PPS: &[u8] = &[0, 0, 0, 1, 0x68, 0xEB, 0xE3];
    const DELIMITER: &[u8] = &[0, 0, 0, 1, 0x09, 0x10];
    const SEI: &[u8] = &[0, 0, 1, 0x06, 0x05, 0x04, 0x67, 0x68, 0x65, 0x41, 0x80];
    const IDR_SLICE: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 3, 1, 0x67];
    const SLICE: &[u8] = &[0, 0, 1, 0x41, 0x9A, 0x24];

    fn holds(keyframe: bool, parameter_sets: bool) -> Contents {
        Contents { keyframe, parameter_sets }
    }

    #[test]
    fn a_keyframe_is_an_idr_picture_with_or_without_parameter_sets() {
        assert_eq!(contents(&[DELIMITER, SPS, PPS, SEI, IDR_SLICE, IDR_SLICE].concat()), holds(true, true));
        assert_eq!(contents(&[SEI, IDR_SLICE].concat()), holds(true, false));
        assert_eq!(contents(&[SPS, IDR_SLICE].concat()), holds(true, false));
        assert_eq!(contents(&[DELIMITER, SLICE, SLICE].concat()), holds(false, false));
        assert_eq!(contents(&[SPS, PPS, SLICE].concat()), holds(false, true));
        assert_eq!(contents(&[SPS, PPS].concat()), holds(false, true));
    }

    #[test]
    fn parameter_sets_are_copied_out_without_what_stands_around_them() {
        let sets = [SPS, PPS].concat();
        let short = [&SPS[1..], &[0, 0], &PPS[1..], &[0]].concat();
        assert_eq!(parameter_sets(&[DELIMITER, &short, SEI, IDR_SLICE].concat()), sets);
        assert_eq!(parameter_sets(&sets), sets);
        assert_eq!(parameter_sets(&[SEI, IDR_SLICE].concat()), Bytes::new());
    }

    #[test]
    fn what_is_no_access_unit_holds_nothing() {
        for bytes in [&[][..], &[0], &[0, 0, 1], &[0, 0, 0, 1], &[0xFF, 0xD8, 0xFF], &[0; 64]] {
            assert_eq!(contents(bytes), Contents::default());
            assert_eq!(parameter_sets(bytes), Bytes::new());
        }
    }

    proptest! {
        #[test]
        fn parameter_sets_found_are_parameter_sets(
            parts in prop::collection::vec(prop::sample::select(vec![SPS, PPS, SEI, SLICE, &[0, 0, 1], &[0x67], &[0]]), 0..12),
        ) {
            let unit = parts.concat();
            let sets = parameter_sets(&unit);
            prop_assert_eq!(parameter_sets(&sets), sets.clone());
            prop_assert_eq!(contents(&sets).parameter_sets, contents(&unit).parameter_sets);
            prop_assert!(!contents(&sets).keyframe);
        }
    }
}
