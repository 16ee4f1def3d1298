//! JPEGs that enter, and turning them.

use std::fmt;

use bytes::Bytes;
use framewire_proto::{
    Codec, Config, Orientation,
    jpeg::{self, Admitted},
};

use super::{JpegDecoder, JpegEncoder, turbo::Turbo};
use crate::error::{Result, error};
use crate::media::{pool::Pool, turn};

/// The quality of a picture that cannot be turned without loss.
const QUALITY: u8 = 90;

/// The step that every JPEG takes where it enters, see [`jpeg::admit`]. A picture whose EXIF data state that it lies on its side is
/// turned here, once for all: OpenCV and many other readers of JPEGs in a stream ignore EXIF, and players of recordings too.
#[derive(Default)]
pub struct JpegEntry(Option<Box<Turner>>);

/// A JPEG of a kind that is decoded everywhere, whole and upright.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jpeg {
    /// The JPEG.
    pub data: Bytes,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

impl JpegEntry {
    /// The whole and upright JPEG. It is the same memory where nothing is missing or to be turned.
    ///
    /// # Errors
    /// The bytes are not a JPEG, its header is damaged, its kind is not supported, or it is too large. One that must be turned is
    /// damaged.
    pub fn admit(&mut self, jpeg: &Bytes) -> Result<Jpeg> {
        let Admitted { data, width, height, orientation } = jpeg::admit(jpeg)?;
        self.turn(Jpeg { data, width, height }, orientation)
    }

    /// A frame's bytes as they enter, of any codec. Where they are a JPEG, `config` gets its size.
    ///
    /// # Errors
    /// As for [`JpegEntry::admit`]; or a raw picture has too few or too many bytes.
    pub fn enter(&mut self, config: &mut Config, data: Bytes) -> Result<Bytes> {
        if config.codec != Codec::Jpeg {
            return config.check(&data).map(|()| data).map_err(|why| error!(InvalidData, "{why}"));
        }
        let jpeg = self.admit(&data)?;
        (config.width, config.height) = (jpeg.width, jpeg.height);
        Ok(jpeg.data)
    }

    /// The JPEG, turned.
    ///
    /// # Errors
    /// It is damaged.
    pub fn turn(&mut self, jpeg: Jpeg, orientation: Orientation) -> Result<Jpeg> {
        if orientation == Orientation::UPRIGHT {
            return Ok(jpeg);
        }
        let data = self.0.get_or_insert_with(Box::default).turn(&jpeg.data, orientation)?;
        let (width, height) = orientation.size((jpeg.width, jpeg.height));
        Ok(Jpeg { data, width, height })
    }
}

impl fmt::Debug for JpegEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JpegEntry")
    }
}

/// Turns JPEGs.
struct Turner {
    turbo: Turbo,
    output: Vec<u8>,
    decoder: JpegDecoder,
    encoder: JpegEncoder,
    pool: Pool,
}

impl Default for Turner {
    fn default() -> Self {
        Self {
            turbo: Turbo::transformer(),
            output: Vec::new(),
            decoder: JpegDecoder::new(),
            encoder: JpegEncoder::new(QUALITY),
            pool: Pool::default(),
        }
    }
}

impl Turner {
    /// Without loss where its size is a multiple of its blocks, as almost all video sizes are; 1920x1080 is not, and is encoded again.
    fn turn(&mut self, jpeg: &[u8], orientation: Orientation) -> Result<Bytes> {
        if self.turbo.transform(jpeg, orientation, &mut self.output).is_ok() {
            jpeg::set_upright(&mut self.output);
            return Ok(Bytes::copy_from_slice(&self.output));
        }
        let picture = self.decoder.decode(jpeg, Codec::I420)?;
        self.encoder.encode(&turn::turn(&picture, orientation, &self.pool)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::picture::Picture;

    /// A picture that is bright in its upper left quarter, and red there.
    fn corner(width: u32, height: u32) -> Picture {
        let mut data = vec![128; Codec::I420.raw_length(width, height).unwrap()];
        let [y, _, v] = crate::media::picture::planes_mut(&mut data, width, height);
        for (place, value) in y.iter_mut().enumerate() {
            let (x, y) = (place as u32 % width, place as u32 / width);
            *value = if x < width / 2 && y < height / 2 { 200 } else { 40 };
        }
        v[0] = 200;
        Picture::new(Codec::I420, width, height, data.into()).unwrap()
    }

    fn with_exif(jpeg: &[u8], orientation: u8) -> Bytes {
        let exif =
            [b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], &[0; 6]];
        [&jpeg[..2], &exif.concat(), &jpeg[2..]].concat().into()
    }

    #[test]
    fn every_orientation_is_turned_upright_with_and_without_whole_blocks() {
        let mut entry = JpegEntry::default();
        for (width, height) in [(64, 32), (60, 36)] {
            let picture = corner(width, height);
            let jpeg = JpegEncoder::new(90).encode(&picture).unwrap();
            for number in 1..=8 {
                let orientation = Orientation::from_exif(number.into()).unwrap();
                let admitted = entry.admit(&with_exif(&jpeg, number)).unwrap();
                let (width, height) = orientation.size((width, height));
                assert_eq!((u32::from(admitted.width), u32::from(admitted.height)), (width, height));
                let again = jpeg::admit(&admitted.data).unwrap();
                assert_eq!(again.orientation, Orientation::UPRIGHT, "a viewer must not turn it again");
                let shown = JpegDecoder::new().decode(&admitted.data, Codec::I420).unwrap();
                let expected = turn::turn(&picture, orientation, &Pool::default()).unwrap();
                let off = shown.data().iter().zip(expected.data()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
                assert!(off / (shown.data().len() as u64) < 8, "{number}: {off}");
            }
        }
    }

    #[test]
    fn a_damaged_picture_that_must_be_turned_is_an_error() {
        let jpeg = JpegEncoder::new(90).encode(&corner(64, 32)).unwrap();
        let half = with_exif(&jpeg[..jpeg.len() - 20], 6);
        let error = JpegEntry::default().admit(&half).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }

    #[test]
    fn the_standard_tables_are_those_of_the_encoder() {
        let jpeg = JpegEncoder::new(80).encode(&corner(64, 32)).unwrap();
        assert_eq!(JpegEntry::default().admit(&jpeg).unwrap().data.as_ptr(), jpeg.as_ptr());
        let mut bare = jpeg.to_vec();
        // Four segments of a table each.
        while let Some(at) = bare.windows(2).position(|pair| pair == [0xFF, 0xC4]) {
            let length = usize::from(u16::from_be_bytes([bare[at + 2], bare[at + 3]]));
            bare.drain(at..at + 2 + length);
        }
        let whole = JpegEntry::default().admit(&bare.into()).unwrap().data;
        let [one, other] = [&jpeg, &whole].map(|jpeg| JpegDecoder::new().decode(jpeg, Codec::I420).unwrap());
        assert!(one == other);
    }
}
