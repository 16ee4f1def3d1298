//! Encoded messages are decoded however their bytes are split. Damaged bytes are refused or decoded the same way.

use bytes::Bytes;
use framewire_proto::{
    Limits,
    wire::native::{Message, PREAMBLE},
};
use proptest::prelude::*;

use crate::util::{decode, encode, message};

proptest! {
    #[test]
    fn any_messages_arrive_as_sent_however_they_are_split(
        messages in prop::collection::vec(message(), 0..8),
        chunk in 1..5_000_usize,
    ) {
        prop_assert_eq!(decode(&encode(&messages), chunk), Ok(messages));
    }

    #[test]
    fn from_bytes_decodes_like_a_connection(message in message()) {
        prop_assert_eq!(Message::from_bytes(message.to_bytes(), &Limits::default()), Ok(Some(message)));
    }

    #[test]
    fn a_truncated_connection_yields_the_complete_messages(
        messages in prop::collection::vec(message(), 1..4),
        at in any::<prop::sample::Index>(),
    ) {
        let whole = encode(&messages);
        let cut = at.index(whole.len());
        let ends = (1..=messages.len()).map(|count| encode(&messages[..count]).len());
        let expected = ends.filter(|end| *end <= cut).count();
        prop_assert_eq!(decode(&whole[..cut], 777), Ok(messages[..expected].to_vec()));
    }

    #[test]
    fn flipped_bits_are_decoded_the_same_however_they_are_split(
        messages in prop::collection::vec(message(), 1..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u32), 1..6),
    ) {
        let mut whole = encode(&messages);
        for (place, bit) in flips {
            let place = place.index(whole.len());
            whole[place] ^= 1 << bit;
        }
        prop_assert_eq!(decode(&whole, usize::MAX), decode(&whole, 7));
    }

    #[test]
    fn random_bytes_are_decoded_the_same_however_they_are_split(
        mut bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        begun: bool,
    ) {
        if begun {
            bytes.splice(0..0, PREAMBLE);
        }
        prop_assert_eq!(decode(&bytes, usize::MAX), decode(&bytes, 3));
        if bytes.first().is_some_and(|first| *first != PREAMBLE[0]) {
            prop_assert_eq!(decode(&bytes, 16).map_err(|error| error.offset), Err(0));
        }
        if let Ok(Some(message)) = Message::from_bytes(Bytes::from(bytes), &Limits::default()) {
            prop_assert_eq!(Message::from_bytes(message.to_bytes(), &Limits::default()), Ok(Some(message)));
        }
    }
}

#[test]
fn the_messages_are_the_same_wherever_the_connection_is_split() {
    let messages = crate::golden::conversation();
    let whole = encode(&messages);
    for cut in 0..=whole.len() {
        let mut decoder = framewire_proto::wire::native::Decoder::new(Limits::default());
        let mut heard = Vec::new();
        for part in [&whole[..cut], &whole[cut..]] {
            decoder.push(part);
            while let Some(message) = decoder.pull().unwrap() {
                heard.push(message);
            }
        }
        assert_eq!(heard, messages, "cut at {cut}");
    }
    assert_eq!(decode(&whole, 1), Ok(messages));
}
