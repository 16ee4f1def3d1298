//! The step that every JPEG takes where it enters: from a file, a camera, standard input, or any wire.
//!
//! Cameras leave parts of a JPEG out, and append parts of older ones. What is missing is added and what is too much is cut, so
//! that all who get the picture can decode it. This costs a walk along the header and a search for the end marker, 2 µs for a
//! picture of 1280x720; a picture that is whole is not copied. A look at the last two bytes would not do: what is left of an older
//! and longer picture in a camera's buffer ends as a picture does.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    END, HeaderError, MAGIC, Marker, SCAN, START, exif, frame_size, huffman::STANDARD_TABLES, is_frame_header, marker,
};
use crate::orientation::Orientation;

const TABLES: u8 = 0xC4;
const QUANTIZATION: u8 = 0xDB;
const APPLICATION_1: u8 = 0xE1;

/// A whole JPEG of a kind that is decoded everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The JPEG.
    pub data: Bytes,
    /// Width of the coded picture in pixels.
    pub width: u16,
    /// Height of the coded picture in pixels.
    pub height: u16,
    /// How the picture must be turned to be upright, as its EXIF data state.
    pub orientation: Orientation,
}

/// Adds standard Huffman tables and the end marker to a JPEG that lacks them, and cuts what follows its end. Only the header is
/// checked, so the picture may still be damaged.
///
/// # Errors
/// The bytes are not a JPEG, its header is damaged, its kind is not supported, or it is too large.
pub fn admit(jpeg: &Bytes) -> Result<Admitted, HeaderError> {
    let Header { size: (width, height), tables, orientation, scan } = Header::read(jpeg)?;
    let orientation = orientation.map_or(Orientation::UPRIGHT, |(orientation, _)| orientation);
    let data = complete(jpeg, &scan, tables);
    Ok(Admitted { data, width, height, orientation })
}

/// Makes the EXIF data of a picture state that it is upright: it was turned.
pub fn set_upright(jpeg: &mut [u8]) {
    let place = Header::read(jpeg).ok().and_then(|header| header.orientation);
    // In either byte order one of the two bytes is zero.
    if let Some((_, at)) = place
        && let Some(number) = jpeg[at].iter_mut().find(|byte| **byte != 0)
    {
        *number = 1;
    }
}

/// What a header states, up to the first scan.
struct Header {
    size: (u16, u16),
    /// Whether there are Huffman tables.
    tables: bool,
    orientation: Option<(Orientation, Range<usize>)>,
    /// Where the first scan's marker is, and where its data begin.
    scan: Range<usize>,
}

impl Header {
    fn read(jpeg: &[u8]) -> Result<Self, HeaderError> {
        if !jpeg.starts_with(&MAGIC) {
            return Err(HeaderError::NotJpeg);
        }
        let (mut size, mut tables, mut quantization, mut orientation) = (None, false, false, None);
        let mut at = 2;
        loop {
            let broken = |why| Err(HeaderError::Broken { at, why });
            let (code, body, end) = match marker(&jpeg[at..]) {
                Marker::More => return Err(HeaderError::Short(jpeg.len())),
                Marker::None => return broken("a marker is missing"),
                Marker::Alone { code: START | END, .. } => return broken("the picture ends before its scan"),
                Marker::Alone { length, .. } => {
                    at += length;
                    continue;
                }
                Marker::Segment { code, body, length } => (code, at + body, at + length),
            };
            let content = jpeg.get(body..end).ok_or(HeaderError::Short(jpeg.len()))?;
            match code {
                SCAN => {
                    let Some(size) = size else { return broken("a scan begins before the picture's size") };
                    if !quantization {
                        return broken("a scan begins before any quantization table");
                    }
                    return Ok(Self { size, tables, orientation, scan: at..end });
                }
                TABLES => tables = true,
                QUANTIZATION => quantization = true,
                APPLICATION_1 if orientation.is_none() => {
                    let place = |at: Range<usize>| body + at.start..body + at.end;
                    orientation = exif::orientation(content).map(|(orientation, at)| (orientation, place(at)));
                }
                code if is_frame_header(code) => size = Some(frame_size(code, content, at)?),
                _ => {}
            }
            at = end;
        }
    }
}

/// The JPEG with what it lacks, and without what follows its end. `scan` is where its first scan's marker is, and where its data
/// begin.
fn complete(jpeg: &Bytes, scan: &Range<usize>, tables: bool) -> Bytes {
    let data = jpeg.slice(..end_of_picture(jpeg, scan.end).unwrap_or(jpeg.len()));
    let ended = data[scan.end..].ends_with(&[0xFF, END]);
    if tables && ended {
        return data;
    }
    let mut out = BytesMut::with_capacity(data.len() + STANDARD_TABLES.len() + 2);
    out.put_slice(&data[..scan.start]);
    if !tables {
        out.put_slice(&STANDARD_TABLES);
    }
    out.put_slice(&data[scan.start..]);
    if !ended {
        out.put_slice(&[0xFF, END]);
    }
    out.freeze()
}

/// Where the picture ends whose first scan's data begin here: after its end marker, or where another picture starts; `None` if
/// neither is found.
fn end_of_picture(jpeg: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr(0xFF, jpeg.get(at..)?)?;
        at += match *jpeg.get(at + 1)? {
            END => return Some(at + 2),
            START => return Some(at),
            // Fill bytes.
            0xFF => 1,
            // A data byte FF, or a restart marker.
            0x00 | 0x01 | 0xD0..=0xD7 => 2,
            // Between scans. Its contents may look like a marker.
            _ => match marker(&jpeg[at..]) {
                Marker::Segment { length, .. } => length,
                _ => 2,
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jpeg::size;

    fn segment(code: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, code], length.as_slice(), body].concat()
    }

    /// EXIF data: orientation 6, then a thumbnail.
    fn exif() -> Vec<u8> {
        let entry = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
        let thumbnail = b"\xFF\xD8\xFF\xC0\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0\xFF\xDA\0\x02\x07\xFF\xD9";
        segment(APPLICATION_1, &[&b"Exif\0\0MM\0*\0\0\0\x08\0\x01"[..], entry, &[0; 4], thumbnail].concat())
    }

    /// The parts of a progressive JPEG of 64x48 pixels: up to the tables, the tables, the scans, the end marker.
    fn parts() -> [Vec<u8>; 4] {
        let frame = segment(0xC2, &[8, 0, 48, 0, 64, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
        let start = [&MAGIC[..2], &exif(), &segment(QUANTIZATION, &[1; 65]), &frame].concat();
        let scan = segment(SCAN, &[1, 1, 0, 0, 63, 0]);
        // Between the scans is a comment that holds an end marker.
        let between = [&[0xFF, 0xFF], &segment(0xFE, b"a\xFF\xD9b")[..]].concat();
        let scans = [&scan, &b"\x01\xFF\x00\x02\xFF\xD0\x03"[..], &between, &scan, &b"\x04\x05"[..]].concat();
        [start, STANDARD_TABLES.to_vec(), scans, vec![0xFF, END]]
    }

    fn whole() -> Vec<u8> {
        parts().concat()
    }

    #[test]
    fn a_whole_picture_stays_where_it_is() {
        let jpeg = Bytes::from(whole());
        let admitted = admit(&jpeg).unwrap();
        assert_eq!((admitted.data.as_ptr(), admitted.data.len()), (jpeg.as_ptr(), jpeg.len()));
        assert_eq!((admitted.width, admitted.height, admitted.orientation.exif()), (64, 48, 6));
        let mut turned = jpeg.to_vec();
        set_upright(&mut turned);
        assert_eq!(turned.iter().zip(&jpeg).filter(|(one, other)| one != other).count(), 1);
        assert_eq!(admit(&turned.into()).unwrap().orientation, Orientation::UPRIGHT);
    }

    #[test]
    fn what_is_missing_is_added_and_what_follows_is_cut() {
        let [start, tables, scans, end] = parts();
        let bare = [&start[..], &scans, &end].concat();
        let unended = [&start[..], &tables, &scans].concat();
        for given in [
            bare,
            unended.clone(),
            [&start[..], &scans].concat(),
            [&whole()[..], b"\0\x01\x02garbage\xFF\0\xD9"].concat(),
            [&whole()[..], &[0xFF; 512]].concat(),
            [&whole()[..], &[0; 4096]].concat(),
            [&whole()[..], b"\r\n"].concat(),
            // The end of an older and longer picture, and a picture that comes twice.
            [&whole()[..], b"\x07\xFF\0\x08", &end].concat(),
            whole().repeat(2),
            // The first bytes of the next picture.
            [&unended[..], &start].concat(),
        ] {
            let admitted = admit(&given.into()).unwrap();
            assert_eq!(admitted.data, whole());
        }
        let cut = [&unended[..], b"\xFF"].concat();
        assert_eq!(admit(&cut.clone().into()).unwrap().data, [&cut[..], b"\xFF\xD9"].concat(), "a fill byte");
    }

    #[test]
    fn kinds_that_are_not_decoded_are_refused_by_name() {
        let at = parts()[0].len() - 19;
        let changed = |place: usize, value: u8| {
            let mut jpeg = whole();
            jpeg[place] = value;
            admit(&jpeg.into()).unwrap_err().to_string()
        };
        for (code, name) in [(0xC3, "lossless"), (0xC6, "hierarchical"), (0xC9, "arithmetic")] {
            assert!(changed(at + 1, code).contains(name), "{}", changed(at + 1, code));
        }
        assert!(changed(at + 4, 12).contains("more than 8 bits"));
        assert!(changed(at + 9, 4).contains("CMYK"));
        let [start, tables, scans, _] = parts();
        let unquantized = [&MAGIC[..2], &start[start.len() - 19..], &tables, &scans].concat();
        assert!(admit(&unquantized.into()).unwrap_err().to_string().contains("quantization"));
        let sizeless = [&start[..start.len() - 19], &tables, &scans].concat();
        assert!(admit(&sizeless.into()).unwrap_err().to_string().contains("before the picture's size"));
        for cut in 0..start.len() + tables.len() {
            assert!(admit(&Bytes::from(whole()).slice(..cut)).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn admitted_bytes_are_admitted_again_unchanged(mut bytes: Vec<u8>, place in 0_usize..400, value: u8) {
            let mut jpeg = whole();
            let place = place % jpeg.len();
            jpeg[place] = value;
            jpeg.append(&mut bytes);
            if let Ok(first) = admit(&jpeg.into()) {
                prop_assert_eq!(size(&first.data), Ok((first.width, first.height)));
                prop_assert_eq!(admit(&first.data), Ok(first));
            }
        }
    }
}
