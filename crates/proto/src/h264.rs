//! What an access unit of H.264 in Annex B form holds (ITU-T H.264, section 7.3.1 and annex B), without decoding it.

mod gaps;

use bytes::Bytes;
use memchr::memmem;

pub use gaps::Gaps;

/// What stands before every NAL unit. Inside one it cannot stand.
const START: [u8; 3] = [0, 0, 1];
// Types of NAL units (table 7-1).
const IDR: u8 = 5;
const SUPPLEMENT: u8 = 6;
const SEQUENCE_SET: u8 = 7;
const PICTURE_SET: u8 = 8;
/// The supplemental message (annex D) that says from which picture on all is whole again.
const RECOVERY_POINT: usize = 6;

/// What an access unit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Its picture.
    pub picture: Picture,
    /// A recovery point at this very picture, as each GOP that is open begins with one: decoding can begin here too, but what
    /// is to be shown before it is not whole then.
    pub recovery: bool,
    /// A recovery point some pictures later, as encoders tell of it that refresh a part of each picture and make no keyframes:
    /// what is torn is whole again by then.
    pub refresh: bool,
    /// A sequence and a picture parameter set, without which decoding cannot begin.
    pub parameter_sets: bool,
}

/// The picture that an access unit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Picture {
    /// There is none: some encoders give parameter sets by themselves.
    #[default]
    None,
    /// One that needs others, or that others before it need.
    Dependent,
    /// An IDR picture: decoding can begin here, and nothing from here on needs what was before. Pictures that only some of
    /// what follows can do without, as open GOPs have them, do not count.
    Keyframe,
}

/// What this access unit holds; nothing, if it is none. What follows the first slice's header is not read.
pub fn contents(unit: &[u8]) -> Contents {
    let (mut sequence_set, mut picture_set) = (false, false);
    let (mut recovery, mut picture) = (None, Picture::None);
    for (start, kind) in nal_units(unit) {
        match kind {
            SUPPLEMENT => recovery = recovery.or_else(|| recovery_point(&unit[start + 1..])),
            SEQUENCE_SET => sequence_set = true,
            PICTURE_SET => picture_set = true,
            slice @ 1..=IDR => {
                picture = if slice == IDR { Picture::Keyframe } else { Picture::Dependent };
                break;
            }
            _ => {}
        }
    }
    let (refresh, recovery) = (recovery == Some(Recovery::Later), recovery == Some(Recovery::AtOnce));
    Contents { picture, recovery, refresh, parameter_sets: sequence_set && picture_set }
}

impl Contents {
    /// Whether its picture is an IDR picture.
    pub fn keyframe(self) -> bool {
        self.picture == Picture::Keyframe
    }

    /// Whether decoding can begin here.
    pub fn begins(self) -> bool {
        self.keyframe() || self.recovery
    }
}

/// When what is decoded from a recovery point on is whole.
#[derive(PartialEq, Eq)]
enum Recovery {
    AtOnce,
    Later,
}

/// The recovery point that these messages (section 7.3.2.3) tell of.
fn recovery_point(messages: &[u8]) -> Option<Recovery> {
    let mut bytes = unescaped(messages);
    loop {
        let (kind, length) = (number(&mut bytes)?, number(&mut bytes)?);
        let mut payload = bytes.by_ref().take(length);
        if kind == RECOVERY_POINT {
            // The count of pictures until then is an Exp-Golomb code: zero is a single bit, set.
            return payload.next().map(|first| if first & 0x80 != 0 { Recovery::AtOnce } else { Recovery::Later });
        }
        if payload.by_ref().count() < length {
            return None;
        }
    }
}

/// A number of a supplemental message: its bytes' sum, to the first that is not 255.
fn number(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut sum = 0;
    loop {
        let byte = bytes.next()?;
        sum += usize::from(byte);
        if byte != 0xFF {
            return Some(sum);
        }
    }
}

/// The bytes of a NAL unit, to its end, without those that only keep a start code from appearing in it (section 7.4.1).
fn unescaped(unit: &[u8]) -> impl Iterator<Item = u8> {
    let end = memmem::find(unit, &START).unwrap_or(unit.len());
    let mut zeros = 0;
    unit[..end].iter().copied().filter(move |byte| {
        let escape = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !escape
    })
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
    const RECOVERY: &[u8] = &[0, 0, 1, 0x06, 0x06, 0x01, 0xC4, 0x80];
    const SEI: &[u8] = &[0, 0, 1, 0x06, 0x05, 0x04, 0x67, 0x68, 0x65, 0x41, 0x80];
    const IDR_SLICE: &[u8] = &[0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 3, 1, 0x67];
    const SLICE: &[u8] = &[0, 0, 1, 0x41, 0x9A, 0x24];

    fn holds(keyframe: bool, parameter_sets: bool) -> Contents {
        let picture = if keyframe { Picture::Keyframe } else { Picture::Dependent };
        Contents { picture, parameter_sets, ..Contents::default() }
    }

    #[test]
    fn an_open_gop_begins_at_its_recovery_point() {
        let begins = |parts: &[&[u8]]| contents(&parts.concat()).recovery;
        assert!(begins(&[SPS, PPS, RECOVERY, SLICE]) && begins(&[SEI, RECOVERY, SLICE]));
        // Behind another message of the same unit, whose bytes hold an escape.
        assert!(begins(&[&[0, 0, 1, 0x06, 0x05, 0x04, 0, 0, 3, 1, 9, 0x06, 0x01, 0xC4, 0x80], SLICE]));
        // Cut short; no message of that kind; behind the picture.
        for parts in [&[&RECOVERY[..5], SLICE][..], &[SEI, SLICE], &[SLICE, RECOVERY]] {
            assert!(!begins(parts), "{parts:?}");
            assert!(!contents(&parts.concat()).refresh, "{parts:?}");
        }
        // Whole only after some pictures.
        let later = contents(&[&[0, 0, 1, 0x06, 0x06, 0x01, 0x44, 0x80], SLICE].concat());
        assert!(later.refresh && !later.begins());
        assert!(!begins(&[&[0, 0, 1, 0x06, 0xFF, 0xFF], &[0, 0, 1, 0x06, 0x05, 0xFF, 0x01, 0x06]]));
    }

    #[test]
    fn a_keyframe_is_an_idr_picture_with_or_without_parameter_sets() {
        assert_eq!(contents(&[DELIMITER, SPS, PPS, SEI, IDR_SLICE, IDR_SLICE].concat()), holds(true, true));
        assert_eq!(contents(&[SEI, IDR_SLICE].concat()), holds(true, false));
        assert_eq!(contents(&[SPS, IDR_SLICE].concat()), holds(true, false));
        assert_eq!(contents(&[DELIMITER, SLICE, SLICE].concat()), holds(false, false));
        assert_eq!(contents(&[SPS, PPS, SLICE].concat()), holds(false, true));
        assert_eq!(contents(&[SPS, PPS].concat()), Contents { picture: Picture::None, ..holds(false, true) });
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
            parts in prop::collection::vec(prop::sample::select(vec![SPS, PPS, SEI, RECOVERY, SLICE, &[0, 0, 1], &[0x67], &[0]]), 0..12),
        ) {
            let unit = parts.concat();
            let sets = parameter_sets(&unit);
            prop_assert_eq!(parameter_sets(&sets), sets.clone());
            prop_assert_eq!(contents(&sets).parameter_sets, contents(&unit).parameter_sets);
            prop_assert!(!contents(&sets).keyframe());
        }
    }
}
