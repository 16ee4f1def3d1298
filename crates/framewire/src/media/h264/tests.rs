use framewire_proto::{Frame, Times, h264};

use super::{
    backend::{BackendKind, MAX_BITRATE},
    trial::{
        psnr,
        tests::{LATE, REOPENS},
    },
    *,
};
use crate::media::{decode::Decoder, picture::planes_mut};

/// So wide that a decoder would assume other colours, were they not stated.
const CONFIG: H264Config = H264Config { width: 1280, height: 240, millifps: 30_000, bitrate: 4_000_000 };

/// Bars of all colours from black to white, over a gradient that moves by two pixels per picture.
fn bars(number: usize) -> Picture {
    picture(|plane, x, y| match plane {
        0 if y < 60 => [0, 255, 29, 76, 150, 178, 105, 226][x / 160],
        0 => ((x + 2 * number) / 8 + y / 4) as u8,
        1 => [128, 128, 255, 85, 43, 171, 212, 1][x / 80],
        _ => [128, 128, 107, 255, 21, 1, 234, 149][x / 80],
    })
}

/// A picture that takes all the bits it may have, and that no earlier picture predicts.
fn noise(number: usize) -> Picture {
    let mut state = number as u32 + 1;
    picture(|_, _, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

fn picture(mut value: impl FnMut(usize, usize, usize) -> u8) -> Picture {
    let (width, height) = (CONFIG.width, CONFIG.height);
    let mut data = vec![0; Codec::I420.raw_length(width, height).unwrap()];
    for (plane, values) in planes_mut(&mut data, width, height).into_iter().enumerate() {
        let width = if plane == 0 { width } else { width / 2 } as usize;
        values.iter_mut().enumerate().for_each(|(at, to)| *to = value(plane, at % width, at / width));
    }
    Picture::new(Codec::I420, width, height, data.into()).unwrap()
}

/// Decodes a frame.
fn decoded(decoder: &mut Decoder, number: usize, encoded: &EncodedFrame) -> Picture {
    let config = framewire_proto::Config::new(Codec::H264, CONFIG.width as u16, CONFIG.height as u16, CONFIG.millifps);
    let (keyframe, data) = (encoded.keyframe, encoded.data.clone());
    let frame = Frame { sequence: number as u64, keyframe, times: Times::default(), data };
    decoder.decode(&config, &frame, Codec::I420).unwrap().expect("a picture at once").1
}

fn bits(encoded: &EncodedFrame) -> u64 {
    8 * encoded.data.len() as u64
}

#[test]
fn every_picture_comes_out_at_once_in_its_colours() {
    let (mut encoder, mut decoder) = (H264Encoder::open(CONFIG).unwrap(), Decoder::new());
    for number in 0..10 {
        let picture = bars(number);
        let encoded = encoder.encode(&picture, false).unwrap();
        let shown = decoded(&mut decoder, number, &encoded);
        for (plane, (due, got)) in picture.planes().into_iter().zip(shown.planes()).enumerate() {
            let psnr = psnr(due, got);
            assert!(psnr > 36.0, "picture {number}, plane {plane}: {psnr:.1} dB");
        }
    }
}

#[test]
fn keyframes_come_only_when_asked_for_and_carry_parameter_sets() {
    let mut encoder = H264Encoder::open(CONFIG).unwrap();
    let (mut early, mut late) = (Decoder::new(), Decoder::new());
    for number in 0..80 {
        // The scene changes every ten pictures. One keyframe is at such a change, and two follow each other.
        let picture = if number / 10 % 2 == 0 { bars(number) } else { noise(number) };
        let asked = [7, 30, 31].contains(&number);
        let encoded = encoder.encode(&picture, asked).unwrap();
        assert_eq!(encoded.keyframe, asked || number == 0, "frame {number}");
        let contents = h264::contents(&encoded.data);
        assert_eq!(
            (contents.is_keyframe(), contents.parameter_sets),
            (encoded.keyframe, encoded.keyframe),
            "frame {number}"
        );
        let shown = decoded(&mut early, number, &encoded);
        if number >= 30 {
            assert!(
                decoded(&mut late, number, &encoded) == shown,
                "frame {number} differs for a decoder that started late"
            );
        }
    }
}

#[test]
fn frames_keep_to_a_changing_bitrate_without_keyframes() {
    let mut encoder = H264Encoder::open(CONFIG).unwrap();
    let phases = [4_000_000, 1_000_000, 500_000, 8_000_000];
    for (phase, bitrate) in phases.into_iter().enumerate() {
        encoder.set_bitrate(bitrate);
        let sizes: Vec<u64> = (0..30)
            .map(|number| {
                let encoded = encoder.encode(&noise(30 * phase + number), false).unwrap();
                assert_eq!(encoded.keyframe, phase == 0 && number == 0);
                bits(&encoded)
            })
            .collect();
        let due = bitrate / 30;
        let (largest, mean) = (sizes.iter().max().unwrap(), sizes[1..].iter().sum::<u64>() / 29);
        assert!(*largest <= due * 12 / 10, "{bitrate} bit/s: {largest} bits of {due}: {sizes:?}");
        assert!(mean >= due * 6 / 10, "{bitrate} bit/s: {mean} bits of {due} in the mean: {sizes:?}");
    }
}

#[test]
fn a_keyframe_is_no_larger_than_the_other_frames_may_be() {
    let mut encoder = H264Encoder::open(CONFIG).unwrap();
    for number in 0..20 {
        let size = bits(&encoder.encode(&noise(number), number % 5 == 4).unwrap());
        assert!(size <= CONFIG.bitrate / 30 * 12 / 10, "frame {number}: {size} bits");
    }
}

#[test]
fn an_easy_picture_takes_few_of_the_bits_it_may_have() {
    let mut encoder = H264Encoder::open(H264Config { bitrate: 50_000_000, ..CONFIG }).unwrap();
    for number in 0..20 {
        // The lowest bit is noise, which is invisible.
        let (bars, noise) = (bars(number), noise(number));
        let data: Vec<u8> = bars.data().iter().zip(noise.data()).map(|(value, noise)| value ^ (noise & 1)).collect();
        let picture = Picture::new(Codec::I420, CONFIG.width, CONFIG.height, data.into()).unwrap();
        let size = bits(&encoder.encode(&picture, false).unwrap());
        assert!(size < 50_000_000 / 30 / 4, "frame {number}: {size} bits");
    }
}

#[test]
fn pictures_of_another_size_or_layout_are_errors_and_the_next_is_fine() {
    let mut encoder = H264Encoder::open(CONFIG).unwrap();
    let picture = |codec: Codec, width, height| {
        let data = vec![100; codec.raw_length(width, height).unwrap()];
        Picture::new(codec, width, height, data.into()).unwrap()
    };
    for wrong in [picture(Codec::I420, 1282, 240), picture(Codec::I420, 240, 1280), picture(Codec::Bgr24, 1280, 240)] {
        let error = encoder.encode(&wrong, false).unwrap_err().to_string();
        assert!(error.contains("i420 of 1280x240") && error.contains("open another"), "{error}");
    }
    assert!(encoder.encode(&picture(Codec::I420, 1280, 240), false).unwrap().keyframe);
}

#[test]
fn odd_and_impossible_sizes_are_refused_with_advice() {
    let open = |width, height| H264Encoder::open(H264Config { width, height, ..CONFIG }).map(drop);
    let error = open(97, 63).unwrap_err().to_string();
    assert!(error.contains("97x63") && error.contains("98x64"), "{error}");
    for (width, height) in [(0, 0), (2, 0), (9000, 2), (u32::MAX - 1, 2)] {
        assert!(open(width, height).is_err(), "{width}x{height}");
    }
    for (width, height) in [(2, 2), (2, 720), (98, 64), (8192, 2)] {
        open(width, height).unwrap();
    }
}

#[test]
fn any_bitrate_and_frame_rate_works() {
    for (millifps, bitrate) in [(0, 0), (1, u64::MAX), (u32::MAX, 1), (u32::MAX, u64::MAX), (1000, MAX_BITRATE)] {
        let mut encoder = H264Encoder::open(H264Config { millifps, bitrate, ..CONFIG }).unwrap();
        for (number, bitrate) in [bitrate, 0, u64::MAX, 1_000_000].into_iter().enumerate() {
            encoder.set_bitrate(bitrate);
            assert!(!encoder.encode(&noise(number), false).unwrap().data.is_empty());
        }
    }
}

#[test]
fn a_missing_encoder_is_named_with_advice() {
    static MISSING: BackendKind = BackendKind { name: c"libnothing", ..SOFTWARE };
    let error = Backend::open(&MISSING, CONFIG).map(drop).unwrap_err().to_string();
    assert!(error.contains("without libnothing") && error.contains("install"), "{error}");
}

/// An encoder whose search has found this hardware.
fn found(mut encoder: H264Encoder, kind: &'static BackendKind, change: BitrateChange) -> H264Encoder {
    let backend = Backend::open(kind, encoder.config).unwrap();
    encoder.search = Some(Search::finished(FoundHardware { backend, change }));
    encoder
}

#[test]
fn found_hardware_takes_over_and_failed_hardware_is_replaced_without_a_gap() {
    for (kind, change, last) in
        [(&REOPENS, BitrateChange::Keyframe, &REOPENS), (&LATE, BitrateChange::Smooth, &SOFTWARE)]
    {
        let mut encoder = H264Encoder::open(CONFIG).unwrap();
        let mut decoder = Decoder::new();
        for number in 0..12 {
            if number == 5 {
                encoder = found(encoder, kind, change);
            }
            let picture = bars(number);
            let encoded = encoder.encode(&picture, false).unwrap();
            assert_eq!(encoded.keyframe, number == 0 || number == 5, "frame {number}");
            let shown = decoded(&mut decoder, number, &encoded);
            assert!(psnr(picture.planes()[0], shown.planes()[0]) > 36.0, "frame {number}");
        }
        assert!(encoder.backend.is(last));
    }
}

#[test]
fn bitrate_changes_that_cost_keyframes_are_made_in_steps() {
    let mut encoder = found(H264Encoder::open(CONFIG).unwrap(), &REOPENS, BitrateChange::Keyframe);
    let bitrates = (0..90).map(|number| match number {
        0..30 => 4_000_000 + 20_000 * (number % 10),
        30..60 => 1_000_000 + 10_000 * (number % 10),
        _ => 2_000_000,
    });
    let mut keyframes = Vec::new();
    for (number, bitrate) in bitrates.enumerate() {
        encoder.set_bitrate(bitrate);
        let encoded = encoder.encode(&noise(number), false).unwrap();
        if encoded.keyframe {
            keyframes.push(number);
        }
        assert!(bits(&encoded) <= bitrate / 30 * 12 / 10, "frame {number}: {} bits", bits(&encoded));
    }
    assert_eq!(keyframes, [0, 30, 89]);
}
