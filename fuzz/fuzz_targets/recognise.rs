//! Any first bytes of a connection: the wire is decided within the prefix, and the decision never changes.
#![no_main]

use framewire_proto::wire::{PREFIX, recognise};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let name = |end: usize| recognise(&input[..end]).map(|wire| wire.map(|wire| wire.name));
    let mut decided = None;
    for end in 0..=input.len().min(2 * PREFIX) {
        match decided {
            Some(verdict) => assert_eq!(name(end), verdict),
            None if name(end) != Ok(None) => decided = Some(name(end)),
            None => {}
        }
    }
    assert!(decided.is_some() || input.len() < PREFIX);
});
