//! A pickle of any bytes: read or refused without a panic. An array that is read is read again after it is sent.
#![no_main]

use bytes::Bytes;
use framewire_proto::{
    Limits,
    limits::check_size,
    wire::{
        pickle::{Pickled, WIRE, read},
        tutorial::{Outgoing, Picture, Width},
    },
};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 3_000;

fuzz_target!(|pickle: &[u8]| {
    let Ok(Some(pickled)) = read(pickle, &limits()) else { return };
    let picture = pickled.picture(&Bytes::copy_from_slice(pickle));
    if matches!(pickled, Pickled::Jpeg(_)) {
        assert!(picture.data.starts_with(&[0xff, 0xd8, 0xff]) && picture.data.len() <= LIMIT);
        return;
    }
    let (width, height) = picture.size.expect("a pickle has a size");
    check_size(width.into(), height.into()).expect("a size within the limits");
    assert_eq!(picture.data.len(), 3 * usize::from(width) * usize::from(height));
    assert!(picture.data.len() <= LIMIT);
    assert_eq!(again(&picture), picture);
});

fn limits() -> Limits {
    Limits { frame: LIMIT, raw: LIMIT, ..Limits::default() }
}

fn again(picture: &Picture) -> Picture {
    let (width, height) = picture.size.expect("a pickle has a size");
    let mut camera = (WIRE.tutorial.expect("a tutorial's wire").transmitter)(Width::default());
    camera.picture(&Outgoing { width, height, data: picture.data.clone() }, 0);
    let written: Vec<Bytes> = std::iter::from_fn(|| camera.pull().expect("no answer is expected")).collect();
    let pickle = Bytes::from(written.concat()).slice(8..);
    read(&pickle, &limits()).expect("a sent pickle is read").expect("a picture").picture(&pickle)
}
