//! The one thing in a picture's EXIF data that matters here: its orientation (CIPA DC-008).
//!
//! It is read from every JPEG that enters, so nothing is allocated and only one directory is searched.

use std::ops::Range;

use crate::orientation::Orientation;

const SIGNATURE: &[u8] = b"Exif\0\0";
const ORIENTATION: u16 = 0x0112;
/// The type of a 16-bit number.
const SHORT: u16 = 3;
/// Bytes of an entry of a directory.
const ENTRY: usize = 12;

/// The orientation in an application segment's body, and where its two bytes are; `None` where it states none, or nonsense.
pub(super) fn orientation(body: &[u8]) -> Option<(Orientation, Range<usize>)> {
    let tiff = body.strip_prefix(SIGNATURE)?;
    let number = match tiff.first_chunk()? {
        b"II*\0" => u16::from_le_bytes,
        b"MM\0*" => u16::from_be_bytes,
        _ => return None,
    };
    let short = |at: usize| tiff.get(at..)?.first_chunk().copied().map(number);
    // The offset of the first directory has 32 bits. A segment is shorter than 64 KiB, so half of them are zero.
    let directory = match (short(4)?, short(6)?) {
        (low, 0) if tiff[0] == b'I' => usize::from(low),
        (0, low) if tiff[0] == b'M' => usize::from(low),
        _ => return None,
    };
    let entries = usize::from(short(directory)?);
    let mut places = (0..entries).map(|index| directory + 2 + ENTRY * index);
    let entry = places.find(|at| short(*at).is_none_or(|tag| tag == ORIENTATION))?;
    if short(entry + 2)? != SHORT {
        return None;
    }
    let orientation = Orientation::from_exif(short(entry + 8)?)?;
    let at = SIGNATURE.len() + entry + 8;
    Some((orientation, at..at + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// EXIF data with another entry before the orientation.
    fn exif(little: bool, orientation: u16) -> Vec<u8> {
        let short = |number: u16| if little { number.to_le_bytes() } else { number.to_be_bytes() };
        let long = |number: u16| {
            let halves = if little { [number, 0] } else { [0, number] };
            halves.map(short).concat()
        };
        let entry =
            |tag: u16, value: u16| [&short(tag)[..], &short(SHORT), &long(1), &short(value), &short(0)].concat();
        let start: &[u8] = if little { b"II*\0" } else { b"MM\0*" };
        [SIGNATURE, start, &long(8), &short(2), &entry(0x0100, 6), &entry(ORIENTATION, orientation), &long(0)].concat()
    }

    #[test]
    fn the_orientation_is_read_in_both_byte_orders() {
        for (little, number) in [(true, 6), (false, 3), (false, 8)] {
            let body = exif(little, number);
            let (orientation, place) = super::orientation(&body).unwrap();
            assert_eq!(u16::from(orientation.exif()), number);
            assert_eq!(body[place].iter().copied().max(), Some(number as u8));
        }
        assert_eq!(super::orientation(&exif(true, 0)), None);
        assert_eq!(super::orientation(b"Exif\0\0II*\0\xff\xff\xff\xff"), None);
        assert_eq!(super::orientation(b"http://ns.adobe.com/xap/1.0/\0"), None);
    }

    proptest! {
        #[test]
        fn damaged_data_never_panics(cut in 0_usize..60, place in 0_usize..50, value: u8) {
            let mut body = exif(value & 1 == 0, 6);
            body[place % 40] = value;
            let _ = super::orientation(&body[..cut.min(body.len())]);
        }
    }
}
