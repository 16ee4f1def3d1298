//! The Huffman tables that Motion-JPEG may lack.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use framewire_proto::Codec;

use super::{jpeg::JpegEncoder, picture::Picture};

const TABLES: u8 = 0xC4;
const SCAN: u8 = 0xDA;

/// The tables of ITU-T T.81, annex K.3, as segments of a JPEG. libjpeg-turbo writes exactly these, so they are copied from a
/// JPEG of its own.
static STANDARD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pixels = Bytes::from_static(&[128; 6]);
    let picture = Picture::new(Codec::I420, 2, 2, pixels).and_then(|picture| JpegEncoder::new(50).encode(&picture));
    let jpeg = picture.expect("a grey picture of 2x2 pixels can be encoded");
    let tables = segments(&jpeg).filter(|(code, ..)| *code == TABLES);
    tables.flat_map(|(_, start, end)| jpeg[start..end].to_vec()).collect()
});

/// Adds the standard Huffman tables to a JPEG that has none before its scan, as in AVI files and from old cameras. Browsers
/// would not decode it otherwise. Other JPEGs stay unchanged.
pub fn complete(jpeg: Bytes) -> Bytes {
    let first = segments(&jpeg).find(|(code, ..)| [TABLES, SCAN].contains(code));
    let Some((SCAN, place, _)) = first else { return jpeg };
    let mut whole = BytesMut::with_capacity(jpeg.len() + STANDARD.len());
    whole.put_slice(&jpeg[..place]);
    whole.put_slice(&STANDARD);
    whole.put_slice(&jpeg[place..]);
    whole.freeze()
}

/// Marker code, start and end of each complete segment, from the start of the image to its first scan.
fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, usize, usize)> {
    let mut at = 2;
    std::iter::from_fn(move || {
        // A marker may be preceded by any number of fill bytes.
        while jpeg.get(at..at + 2)? == [0xFF, 0xFF] {
            at += 1;
        }
        let [0xFF, code, high, low] = *jpeg.get(at..at + 4)? else { return None };
        let (start, end) = (at, at + 2 + usize::from(u16::from_be_bytes([high, low])));
        at = if code == SCAN { jpeg.len() } else { end };
        (end <= jpeg.len()).then_some((code, start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::jpeg::JpegDecoder;

    #[test]
    fn a_jpeg_without_tables_gets_the_standard_tables() {
        let picture = Picture::new(Codec::I420, 16, 16, vec![90; 384].into()).unwrap();
        let jpeg = JpegEncoder::new(80).encode(&picture).unwrap();
        assert_eq!(complete(jpeg.clone()).as_ptr(), jpeg.as_ptr());
        let mut bare = jpeg[..2].to_vec();
        let last = segments(&jpeg).last().unwrap();
        for (_, start, end) in segments(&jpeg).filter(|(code, ..)| *code != TABLES) {
            bare.extend_from_slice(&jpeg[start..end]);
        }
        bare.extend_from_slice(&jpeg[last.2..]);
        assert_eq!(bare.len() + STANDARD.len(), jpeg.len());
        // The lengths of K.3.1 and K.3.2: two tables of 12 and two of 162 values.
        assert_eq!(STANDARD.len() % 2, 0);
        assert!([420, 432].contains(&STANDARD.len()), "{}", STANDARD.len());
        let whole = complete(bare.into());
        assert_eq!(whole.len(), jpeg.len());
        assert_eq!(JpegDecoder::new().decode(&whole, Codec::I420).unwrap().data()[0], 90);
    }

    #[test]
    fn other_data_stays_unchanged() {
        for bytes in [&b""[..], b"\xFF\xD8", b"\xFF\xD8\xFF", b"\xFF\xD8\xFF\xC0\xFF\xFF", b"hello world", &[0xFF; 99]]
        {
            assert_eq!(complete(Bytes::from_static(bytes)), bytes);
        }
    }
}
