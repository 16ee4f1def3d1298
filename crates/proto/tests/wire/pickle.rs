//! The pickle wire through the public API: reads NumPy's pickles, and writes them like NumPy 1.19.

use std::{fs, path::Path};

use bytes::Bytes;
use framewire_proto::{
    Codec, Limits, WireError,
    error::ErrorKind,
    wire::{
        length::{Body, Layout, Length},
        pickle,
        tutorial::{Outgoing, Picture, Received, Width},
    },
};
use proptest::prelude::*;

use crate::tutorials;

/// The captures whose names end in this, with their names. testdata/make_pickles.py makes them.
fn captures(end: &str) -> Vec<(String, Bytes)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/pickle");
    let mut captures = Vec::new();
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(end) {
            captures.push((name, fs::read(path).unwrap().into()));
        }
    }
    captures.sort();
    captures
}

fn capture(end: &str) -> Bytes {
    captures(end).into_iter().next().unwrap_or_else(|| panic!("no capture ends in {end}")).1
}

/// The small captures and what each contains.
pub(crate) fn tiny() -> Vec<(String, Bytes, Vec<Received>)> {
    let frames = frames().into_iter().map(|data| received(4, 2, data));
    let expected: Vec<_> = std::iter::once(layout(8, Body::PickledArray)).chain(frames).collect();
    captures("-4x2.bin").into_iter().map(|(name, bytes)| (name, bytes, expected.clone())).collect()
}

/// The pictures of testdata/make_pickles.py in row order.
fn frames() -> Vec<Vec<u8>> {
    let [first, second, sealed] = [0, 100, 50].map(|start| image(2, 4, start));
    let flipped = first.chunks(12).flat_map(|row| row.chunks(3).rev().flatten().copied()).collect();
    vec![first.clone(), second.clone(), flipped, second, first, sealed]
}

pub(crate) fn image(height: usize, width: usize, start: usize) -> Vec<u8> {
    (0..height * width * 3).map(|place| (start + 7 * place) as u8).collect()
}

fn received(width: u16, height: u16, data: impl Into<Bytes>) -> Received {
    Received::Picture(Picture { codec: Codec::Bgr24, size: Some((width, height)), sent: None, data: data.into() })
}

/// What is told of the first picture, before it.
pub(crate) fn layout(width: usize, body: Body) -> Received {
    Received::Recognised(Layout { length: Length::Binary { width, big: false }, body }.to_string())
}

/// A length and the pickle.
pub(crate) fn framed(pickle: &[u8]) -> Vec<u8> {
    [&(pickle.len() as u64).to_le_bytes()[..], pickle].concat()
}

/// Everything that the viewer's side receives from these bytes, and the final error.
pub(crate) fn receive(bytes: &[u8], chunk: usize, limits: &Limits) -> (Vec<Received>, Option<WireError>) {
    tutorials::receive(pickle::NAME, bytes, chunk, limits)
}

fn taken(bytes: &[u8]) -> Vec<Received> {
    let (received, error) = receive(bytes, usize::MAX, &Limits::default());
    assert_eq!(error, None);
    received
}

/// The writes of a camera that sends one picture.
fn write(width: u16, height: u16, data: Bytes) -> Vec<Bytes> {
    let mut camera = (pickle::WIRE.tutorial.unwrap().transmitter)(Width::default());
    assert!(camera.ready());
    camera.picture(&Outgoing { width, height, data }, 0);
    let mut written = Vec::new();
    while let Some(bytes) = camera.pull().unwrap() {
        written.push(bytes);
        assert_eq!(camera.ready(), written.len() == 3);
    }
    written
}

#[test]
fn pickles_of_every_numpy_are_read() {
    let tiny = tiny();
    assert!(tiny.len() >= 12, "those of two NumPys in six protocols");
    for (name, bytes, expected) in tiny {
        assert_eq!(taken(&bytes), expected, "{name}");
    }
    for (name, bytes) in captures("-320x240.bin") {
        assert_eq!(taken(&bytes)[1..], [received(320, 240, vec![200; 230_400])], "{name}");
    }
}

#[test]
fn jpegs_in_pickles_are_read() {
    let jpeg = tutorials::pictures()[0].clone();
    let jpeg = Received::Picture(Picture { codec: Codec::Jpeg, size: None, sent: None, data: jpeg });
    let expected = [&[layout(8, Body::PickledJpeg)][..], &vec![jpeg; 5]].concat();
    let captures = captures("-jpeg.bin");
    assert!(captures.len() >= 12, "those of two NumPys in six protocols");
    for (name, bytes) in captures {
        assert_eq!(receive(&bytes, usize::MAX, &Limits::default()), (expected.clone(), None), "{name}");
        assert_eq!(receive(&bytes, 1, &Limits::default()), (expected.clone(), None), "{name} byte by byte");
    }
}

/// What Python 2 wrote in protocol 0, its default: strings between quotation marks.
#[test]
fn lines_of_python_2_are_read() {
    let (jpeg, pixels) = (b"\xff\xd8\xff\xe0'\n\\\0\xff\xd9", image(2, 4, 90));
    let quoted = |bytes: &[u8]| {
        let letters = bytes.iter().map(|byte| match byte {
            b'\n' => "\\n".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b' '..=b'~' => char::from(*byte).to_string(),
            other => format!("\\x{other:02x}"),
        });
        format!("\"{}\"", letters.collect::<String>())
    };
    let array = format!(
        "cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n(I1\n(L2L\nL4L\nI3\ntp6\n\
         cnumpy\ndtype\np7\n(S'u1'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'|'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS{}\np13\ntp14\nb.",
        quoted(&pixels)
    );
    assert_eq!(taken(&framed(array.as_bytes()))[1..], [received(4, 2, pixels)]);
    let string = format!("S{}\np0\n.", quoted(jpeg));
    let taken = taken(&framed(string.as_bytes()));
    let Some(Received::Picture(picture)) = taken.last() else { panic!("{taken:?}") };
    assert_eq!(picture.data[..], jpeg[..]);
}

#[test]
fn bytes_that_are_no_jpeg_are_refused_with_what_to_do() {
    let error = receive(&framed(b"\x80\x03C\x04\x89PNGq\0."), 1, &Limits::default()).1.unwrap().to_string();
    assert!(error.contains("are no JPEG: encode pictures with cv2.imencode('.jpg'"), "{error}");
}

#[test]
fn pictures_are_written_like_numpy_in_protocol_3() {
    // NumPy 1.26 writes this protocol like 1.19, the version of the tutorial's time.
    let golden = capture("numpy1.26-protocol3-320x240.bin");
    assert_eq!(write(320, 240, vec![200; 230_400].into()).concat(), golden);
    let tiny = capture("numpy1.26-protocol3-4x2.bin");
    let (_none, begins) = tiny.split_at(12);
    let first = write(4, 2, image(2, 4, 0).into()).concat();
    assert_eq!(first, begins[..first.len()]);
    assert_eq!(write(640, 480, vec![1; 921_600].into()).concat().len(), 8 + 921_762);
}

#[test]
fn pixels_are_sent_and_received_without_a_copy() {
    let data = Bytes::from(image(240, 320, 3));
    let written = write(320, 240, data.clone());
    assert_eq!(written.len(), 3);
    assert_eq!(written[1].as_ptr(), data.as_ptr());
    let mut pickle = Bytes::from(written.concat());
    let pickle = pickle.split_off(8);
    let pickled = pickle::read(&pickle, &Limits::default()).unwrap().unwrap();
    let picture = pickled.picture(&pickle);
    assert_eq!(picture.data, data);
    assert_eq!(picture.data.as_ptr(), pickle[written[0].len() - 8..].as_ptr());
}

/// A pickle of Python 3.6 with NumPy 1.13, which no longer runs here: it wrote a type's flags as numbers.
#[test]
fn a_types_flags_may_be_numbers() {
    let pickle = write(320, 240, vec![9; 230_400].into()).concat().split_off(8);
    let place = pickle.windows(3).position(|bytes| bytes == b"\x89\x88\x87").unwrap();
    let old = [&pickle[..place], b"K\0K\x01", &pickle[place + 2..]].concat();
    assert_eq!((pickle.len(), old.len()), (230_561, 230_563));
    assert_eq!(taken(&framed(&old))[1..], [received(320, 240, vec![9; 230_400])]);
}

/// A pickle of Python 2 in protocol 2, which does not run here: its strings are bytes.
#[test]
fn strings_of_python_2_are_read() {
    for long in [false, true] {
        let (height, width) = if long { (2, 200) } else { (2, 4) };
        let data = image(height, width, 11);
        let mut pickle =
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\0\x85U\x01b\x87Rq\x03\
            (K\x01"
                .to_vec();
        pickle.extend([b'K', height as u8, b'K', width as u8, b'K', 3]);
        pickle.extend(
            b"\x87cnumpy\ndtype\nq\x04U\x02u1K\0K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff",
        );
        pickle.extend(b"K\0tb\x89");
        if long {
            pickle.push(b'T');
            pickle.extend((data.len() as u32).to_le_bytes());
        } else {
            pickle.extend([b'U', data.len() as u8]);
        }
        pickle.extend(&data);
        pickle.extend(b"tb.");
        assert_eq!(taken(&framed(&pickle))[1..], [received(width as u16, height as u16, data)]);
    }
}

#[test]
fn the_first_pickle_decides_between_lengths_of_4_and_8_bytes() {
    for (name, bytes, expected) in tiny() {
        let (mut rest, mut short) = (&bytes[..], Vec::new());
        while let Some((length, behind)) = rest.split_first_chunk::<8>() {
            let (pickle, behind) = behind.split_at(u64::from_le_bytes(*length) as usize);
            short.extend([&length[..4], pickle].concat());
            rest = behind;
        }
        let expected = [&[layout(4, Body::PickledArray)][..], &expected[1..]].concat();
        assert_eq!(taken(&short), expected, "{name}");
        assert_eq!(receive(&short, 1, &Limits::default()), (expected.clone(), None), "{name}");
        let (_, error) = receive(&[&short, &bytes[..]].concat(), usize::MAX, &Limits::default());
        assert_eq!(error.unwrap().offset, short.len() as u64, "{name}");
    }
}

#[test]
fn a_picture_may_be_as_large_as_the_limit() {
    let limits = Limits { raw: 24, ..Limits::default() };
    let pickle = write(4, 2, vec![1; 24].into()).concat();
    let both = [&pickle[..], &write(3, 3, vec![1; 27].into()).concat(), &pickle].concat();
    let picture = received(4, 2, vec![1; 24]);
    let too_large = Received::TooLarge { length: 27, limit: 24 };
    let expected = vec![layout(8, Body::PickledArray), picture.clone(), too_large, picture];
    assert_eq!(receive(&both, 1, &limits), (expected, None), "the larger one is passed over");
}

#[test]
fn a_4k_picture_is_read() {
    let data = Bytes::from(vec![77; 3840 * 2160 * 3]);
    let written = write(3840, 2160, data.clone()).concat();
    assert_eq!(taken(&written)[1..], [received(3840, 2160, data)]);
}

#[test]
fn a_picture_with_a_wrong_number_of_bytes_is_not_sent() {
    for (width, height, length) in [(4, 2, 23), (4, 2, 25), (4, 2, 0), (0, 2, 0), (0, 0, 3)] {
        assert_eq!(write(width, height, vec![1; length].into()), [] as [Bytes; 0], "{width}x{height}");
    }
}

#[test]
fn a_truncated_pickle_is_refused_at_every_length() {
    for (name, bytes, _) in tiny() {
        let mut rest = &bytes[..];
        while let Some((length, behind)) = rest.split_first_chunk::<8>() {
            let (pickle, behind) = behind.split_at(u64::from_le_bytes(*length) as usize);
            assert!(pickle::read(pickle, &Limits::default()).is_ok(), "{name}");
            for cut in 0..pickle.len() {
                let error = pickle::read(&pickle[..cut], &Limits::default()).unwrap_err();
                assert!(matches!(error, ErrorKind::InvalidAt { at, .. } if at <= cut), "{name} cut at {cut}: {error}");
            }
            rest = behind;
        }
    }
}

#[test]
fn a_first_length_without_a_pickle_is_refused() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], &[0; 16], &framed(b"cos\nsystem\n(S'id'\ntR.")] {
        let error = receive(bytes, 1, &Limits::default()).1.unwrap();
        assert!(error.to_string().contains("no pickle begins behind"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_pictures_arrive_as_sent(
        sent in prop::collection::vec((1..300_u16, 1..40_u16, any::<u8>()), 1..5),
        chunk in 1..60_000_usize,
    ) {
        let image = |&(width, height, start): &(u16, u16, u8)| image(height.into(), width.into(), start.into());
        let written = sent.iter().map(|sent| write(sent.0, sent.1, image(sent).into()).concat());
        let expected = sent.iter().map(|sent| received(sent.0, sent.1, image(sent)));
        let bytes = written.collect::<Vec<_>>().concat();
        let expected = std::iter::once(layout(8, Body::PickledArray)).chain(expected);
        prop_assert_eq!(receive(&bytes, chunk, &Limits::default()), (expected.collect(), None));
    }

    /// The parts of a picture's pickle in any order are read or refused, and never yield pixels that were not sent.
    #[test]
    fn any_program_is_read_or_refused(order in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let pickle = order.iter().fold(b"\x80\x04".to_vec(), |mut pickle, index| {
            pickle.extend_from_slice(PARTS[index.index(PARTS.len())]);
            pickle
        });
        match pickle::read(&pickle, &Limits { raw: 24, ..Limits::default() }) {
            Ok(Some(array)) => prop_assert_eq!(array.picture(&pickle.into()).data.len(), 24),
            Ok(None) => prop_assert!(pickle.contains(&b'N')),
            Err(error) => prop_assert!(error.to_string().len() < 2_000, "{}", error),
        }
    }
}

const PARTS: &[&[u8]] = &[
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy._core.numeric\n_frombuffer\n",
    b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n",
    b"c_codecs\nencode\n",
    b"\x8c\x05numpy\x8c\x05dtype\x93",
    b"\x8c\x02u1",
    b"\x8c\x01|",
    b"\x8c\x06latin1",
    b"C\x01b",
    b"C\x18abcdefghijklmnopqrstuvwx",
    b"K\0",
    b"K\x02",
    b"K\x03",
    b"K\x04",
    b"J\xff\xff\xff\xff",
    b"\x88",
    b"\x89",
    b"N",
    b"(",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"q\x01",
    b"h\x01",
    b"\x94",
    b"R",
    b"b",
    b".",
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R",
    b"cnumpy\ndtype\nX\x02\0\0\0u1\x89\x88\x87R",
    b"(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb",
    b"(K\x01K\x02K\x04K\x03\x87",
    b"\x89C\x18abcdefghijklmnopqrstuvwxtb",
];
