//! The wire of the tutorial that pickles: a length, then an array of NumPy as Python's `pickle.dumps` writes it.
//!
//! Here the camera's end listens; the viewer connects and says nothing. The array is uint8, height x width x 3, blue, green
//! and red as OpenCV has them. The length is a native C type: 8 bytes, or 4 where scripts pack "L" on Windows or 32-bit
//! Linux; little-endian on every machine this is met on. No answers, no end but the connection's.
//!
//! What is sent is protocol 3 with the module names of NumPy 1, byte for byte as NumPy 1.19 wrote it: every later NumPy
//! loads that. What comes is read in protocols 2 to 5 and never executed: see [`read`].

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Verdict, Wire,
    tutorial::{self, End, Inbox, Outgoing, Parse, Received, Size, Transmit, Tutorial},
};
use crate::{Codec, Limits, Micros, WireError, error::ErrorKind, jpeg};

mod array;
mod op;
mod reader;
mod value;

pub use array::Array;
pub use reader::read;

/// The word for this wire.
pub const NAME: &str = "pickle";
/// Its row.
pub const WIRE: Wire = Wire {
    name: NAME,
    summary: "a length, then a uint8 array of NumPy pickled, which is read and never executed",
    recognise,
    tutorial: Some(Tutorial {
        camera: End::Listens,
        port: 9999,
        size: Size::Width(320),
        codec: Codec::Bgr24,
        quality: None,
        receiver: |limits| tutorial::receiver(NAME, Parser::new(limits)),
        transmitter: |_| Box::<Transmitter>::default(),
    }),
};

/// Bytes of a length.
const HEADERS: [usize; 2] = [4, 8];
/// Bytes of a pickle besides the pixels: NumPy writes less than 200.
const AROUND: usize = 4 << 10;

/// Whether a connection that begins with these bytes speaks this wire: where a pickle of protocol 2 to 5 begins behind a
/// length within bounds. A camera that connects and pushes pickles is recognised so, to be refused by name.
pub fn recognise(prefix: &[u8]) -> Verdict {
    let limit = longest(&Limits::default()) as u64;
    super::any(HEADERS.map(|header| {
        if !super::within(prefix, header, limit) {
            return Verdict::No;
        }
        let pickle = prefix.get(header..).unwrap_or_default();
        match pickle {
            // So begin two bytes of protocol, and the size of lhh's pictures that are 640 wide: there, a JPEG follows.
            [op::PROTO, 2..=5, ..] => match super::begins(pickle.get(4..).unwrap_or_default(), &jpeg::MAGIC) {
                Verdict::Yes => Verdict::No,
                Verdict::No => Verdict::Yes,
                Verdict::More => Verdict::More,
            },
            [] | [op::PROTO] => Verdict::More,
            _ => Verdict::No,
        }
    }))
}

fn longest(limits: &Limits) -> usize {
    tutorial::longest(limits.raw) + AROUND
}

/// The viewer's end.
#[derive(Debug)]
struct Parser {
    limits: Limits,
    /// Bytes of a length, once a pickle has shown that.
    header: Option<usize>,
}

impl Parser {
    fn new(limits: &Limits) -> Self {
        Self { limits: *limits, header: None }
    }

    /// How long the length at the front is; `None` while that cannot be told.
    fn header(&self, bytes: &[u8]) -> Result<Option<usize>, ErrorKind> {
        if self.header.is_some() {
            return Ok(self.header);
        }
        match HEADERS.map(|header| super::begins(bytes.get(header..).unwrap_or_default(), &[op::PROTO])) {
            [Verdict::Yes, _] => Ok(Some(HEADERS[0])),
            [_, Verdict::Yes] => Ok(Some(HEADERS[1])),
            [Verdict::No, Verdict::No] => {
                let why = "no pickle of protocol 2 to 5 begins behind its 4 or 8 bytes".into();
                Err(ErrorKind::Invalid { what: "the first length", why })
            }
            _ => Ok(None),
        }
    }
}

impl Parse for Parser {
    fn next(&mut self, inbox: &mut Inbox) -> Result<Option<Received>, ErrorKind> {
        while let Some(header) = self.header(inbox.bytes())? {
            let limit = longest(&self.limits);
            let Some(whole) = inbox.framed(header, header, "a pickle", limit)? else { return Ok(None) };
            let array = read(&inbox.bytes()[header..whole], self.limits.raw)?;
            self.header = Some(header);
            let pickle = inbox.take(whole).slice(header..);
            if let Some(array) = array {
                return Ok(Some(Received::Picture(array.picture(&pickle))));
            }
        }
        Ok(None)
    }
}

/// The camera's end.
#[derive(Default)]
struct Transmitter {
    waiting: VecDeque<Bytes>,
}

/// A pickle up to the shape: an array without one, and the version of what fills it.
const BEGIN: &[u8] =
    b"\x80\x03cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02C\x01bq\x03\
    \x87q\x04Rq\x05(K\x01";
/// Between the shape and the pixels: their type, and that they are in C's order.
const TYPE: &[u8] = b"\x87q\x06cnumpy\ndtype\nq\x07X\x02\0\0\0u1q\x08\x89\x88\x87q\tRq\n(K\x03X\x01\0\0\0|q\x0bNNN\
    J\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tq\x0cb\x89";
/// Behind the pixels.
const END: &[u8] = b"q\rtq\x0eb.";

impl Transmit for Transmitter {
    fn ready(&self) -> bool {
        self.waiting.is_empty()
    }

    fn picture(&mut self, picture: &Outgoing, _wall: Micros) -> usize {
        let pixels = &picture.data;
        // Bytes that are not the size's would end the viewer's script: nothing is sent of them.
        if pixels.is_empty()
            || Codec::Bgr24.raw_length(picture.width.into(), picture.height.into()) != Some(pixels.len())
        {
            return 0;
        }
        let mut head = BytesMut::with_capacity(256);
        head.put_u64_le(0);
        head.put_slice(BEGIN);
        for side in [picture.height, picture.width, 3] {
            put_integer(&mut head, side);
        }
        head.put_slice(TYPE);
        put_length(&mut head, pixels.len());
        let length = head.len() - HEADERS[1] + pixels.len() + END.len();
        head[..HEADERS[1]].copy_from_slice(&(length as u64).to_le_bytes());
        self.waiting.extend([head.freeze(), pixels.clone(), Bytes::from_static(END)]);
        HEADERS[1] + length
    }

    fn pull(&mut self) -> Result<Option<Bytes>, WireError> {
        Ok(self.waiting.pop_front())
    }
}

fn put_integer(out: &mut BytesMut, number: u16) {
    if let Ok(small) = u8::try_from(number) {
        out.put_slice(&[op::BININT1, small]);
    } else {
        out.put_u8(op::BININT2);
        out.put_u16_le(number);
    }
}

/// Begins so many bytes, less than 4 GiB of them.
fn put_length(out: &mut BytesMut, length: usize) {
    if let Ok(small) = u8::try_from(length) {
        out.put_slice(&[op::SHORT_BINBYTES, small]);
    } else {
        out.put_u8(op::BINBYTES);
        out.put_u32_le(length as u32);
    }
}
