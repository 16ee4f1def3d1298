use std::time::{Duration, Instant};

use framewire_proto::{Codec, jpeg::strips};

use super::{encoder::StripEncoder, strip_planner::StripPlanner, turbo::Turbo, *};
use crate::media::{
    colour,
    picture::{Picture, planes_mut},
    pool::Pool,
};

/// A smooth picture with edges, as I420.
fn scene(width: u32, height: u32) -> Picture {
    let mut data = vec![0; Codec::I420.raw_length(width, height).unwrap()];
    let [y, u, v] = planes_mut(&mut data, width, height);
    let fill = |plane: &mut [u8], width: usize, (a, b): (usize, usize)| {
        for (place, sample) in plane.iter_mut().enumerate() {
            *sample = (100 + place % width * a / width + place / width * b / width) as u8;
        }
    };
    fill(y, width as usize, (40, 30));
    fill(u, width.div_ceil(2) as usize, (20, 30));
    fill(v, width.div_ceil(2) as usize, (30, 10));
    Picture::new(Codec::I420, width, height, data.into()).unwrap()
}

fn worst(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn pictures_of_any_size_keep_their_pixels() {
    let (mut encoder, mut decoder) = (JpegEncoder::new(95), JpegDecoder::new());
    for (width, height) in [(64, 48), (1, 1), (2, 2), (17, 31), (33, 16), (16, 33), (1920, 1080), (65, 3)] {
        let picture = scene(width, height);
        let jpeg = encoder.encode(&picture).unwrap();
        let back = decoder.decode(&jpeg, Codec::I420).unwrap();
        let off = worst(picture.data(), back.data());
        assert!(off <= 6, "{width}x{height}: {off}");
        let bgr = decoder.decode(&jpeg, Codec::Bgr24).unwrap();
        let again = decoder.decode(&encoder.encode(&bgr).unwrap(), Codec::I420).unwrap();
        let off = worst(picture.data(), again.data());
        assert!(off <= 16, "{width}x{height} by bgr: {off}");
    }
}

/// A JPEG of another encoder: the scene at this subsampling, by the library's own conversion from BGR.
fn foreign(subsampling: turbojpeg::Subsamp, width: u32, height: u32, progressive: bool) -> Vec<u8> {
    let bgr = colour::convert(&scene(width, height), Codec::Bgr24, &Pool::default()).unwrap();
    let mut compressor = turbojpeg::Compressor::new().unwrap();
    compressor.set_quality(97).unwrap();
    compressor.set_subsamp(subsampling).unwrap();
    compressor.set_progressive(progressive).unwrap();
    let (width, height) = (width as usize, height as usize);
    let (pixels, pitch, format) = (&bgr.data()[..], 3 * width, turbojpeg::PixelFormat::BGR);
    compressor.compress_to_vec(turbojpeg::Image { pixels, width, pitch, height, format }).unwrap()
}

#[test]
fn every_subsampling_decodes_to_the_same_picture() {
    use turbojpeg::Subsamp;
    let mut decoder = JpegDecoder::new();
    for (width, height) in [(64, 48), (67, 45)] {
        let [expected_y, expected_u, expected_v] = scene(width, height).planes().map(<[u8]>::to_vec);
        for kind in [
            Subsamp::None,
            Subsamp::Sub2x1,
            Subsamp::Sub2x2,
            Subsamp::Sub1x2,
            Subsamp::Sub4x1,
            Subsamp::Sub1x4,
            Subsamp::Gray,
        ] {
            for progressive in [false, true] {
                let jpeg = foreign(kind, width, height, progressive);
                let picture = decoder.decode(&jpeg, Codec::I420).unwrap();
                let [y, u, v] = picture.planes();
                assert!(worst(y, &expected_y) <= 8, "{kind:?} {width}x{height} luma {}", worst(y, &expected_y));
                if kind == Subsamp::Gray {
                    assert!(u.iter().chain(v).all(|sample| *sample == 128));
                } else {
                    let off = worst(u, &expected_u).max(worst(v, &expected_v));
                    assert!(off <= 9, "{kind:?} {width}x{height} chroma {off}");
                }
                assert_eq!(decoder.decode(&jpeg, Codec::Bgr24).unwrap().width(), width);
            }
        }
    }
}

#[test]
fn strips_give_the_same_picture() {
    let one = || StripPlanner { processors: 1, ..StripPlanner::new() };
    let three = || StripPlanner { processors: 3, ..StripPlanner::new() };
    for (width, height) in [(640, 480), (320, 400), (322, 410), (64, 4096)] {
        let picture = scene(width, height);
        let mut encoder = JpegEncoder::new(80);
        encoder.strip_encoders.resize_with(3, StripEncoder::new);
        encoder.set_quality(80);
        encoder.planner = three();
        let jpeg = encoder.encode(&picture).unwrap();
        assert_eq!(encoder.planner.strips, 3, "{width}x{height}");
        assert!(strips::cut(&jpeg, 3).is_some_and(|strips| strips.len() == 3), "{width}x{height}");
        let mut whole = JpegDecoder::new();
        whole.planner = one();
        let strip_decoders = (0..2).map(|_| Turbo::decompressor()).collect();
        let mut strips = JpegDecoder::new();
        (strips.planner, strips.strip_decoders) = (three(), strip_decoders);
        let expected = whole.decode(&jpeg, Codec::I420).unwrap();
        assert!(strips.decode(&jpeg, Codec::I420).unwrap() == expected, "{width}x{height}");
        assert_eq!((whole.planner.strips, strips.planner.strips), (1, 3));
        encoder.planner = one();
        let once = encoder.encode(&picture).unwrap();
        assert!(whole.decode(&once, Codec::I420).unwrap() == expected, "{width}x{height}: encoded whole");
        assert!(turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::RGB).is_ok());
    }
}

#[test]
fn a_picture_stays_whole_where_no_processor_is_idle() {
    let mut planner = StripPlanner { processors: 4, ..StripPlanner::new() };
    assert_eq!(planner.strips(1280, 720), 4);
    planner.last = Some((Instant::now(), Duration::from_secs(60)));
    assert_eq!(planner.strips(1280, 720), 1);
    planner.last = None;
    assert_eq!([planner.strips(1281, 720), planner.strips(1280, 120), planner.strips(640, 480)], [1, 1, 3]);
}

#[test]
fn a_truncated_jpeg_is_an_error() {
    let jpeg = JpegEncoder::new(80).encode(&scene(160, 120)).unwrap();
    let mut decoder = JpegDecoder::new();
    for cut in 0..jpeg.len() - 1 {
        assert!(decoder.decode(&jpeg[..cut], Codec::I420).is_err(), "cut at {cut} of {}", jpeg.len());
    }
    assert!(decoder.decode(&jpeg, Codec::I420).is_ok());
}

#[test]
fn flipped_bits_never_panic() {
    let jpeg = JpegEncoder::new(80).encode(&scene(97, 63)).unwrap();
    let mut decoder = JpegDecoder::new();
    for place in 0..jpeg.len() * 8 {
        let mut bad = jpeg.to_vec();
        bad[place / 8] ^= 1 << (place % 8);
        for want in [Codec::I420, Codec::Bgr24] {
            if let Ok(picture) = decoder.decode(&bad, want) {
                assert_eq!(picture.data().len(), want.raw_length(picture.width(), picture.height()).unwrap());
            }
        }
    }
}

#[test]
fn a_huge_picture_is_refused_by_its_header() {
    let mut jpeg = JpegEncoder::new(80).encode(&scene(64, 64)).unwrap().to_vec();
    let start = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[start + 5..start + 9].copy_from_slice(&[0xfd, 0xe8, 0xfd, 0xe8]);
    let message = JpegDecoder::new().decode(&jpeg, Codec::I420).unwrap_err().to_string();
    assert!(message.contains("65000x65000"), "{message}");
}

#[test]
fn stray_bytes_of_a_cheap_camera_are_harmless() {
    let mut jpeg = JpegEncoder::new(80).encode(&scene(64, 64)).unwrap().to_vec();
    jpeg.truncate(jpeg.len() - 2);
    jpeg.extend([0, 0, 0, 0xff, 0xd9, 0, 0, 0]);
    assert!(JpegDecoder::new().decode(&jpeg, Codec::I420).is_ok());
}
