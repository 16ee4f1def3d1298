//! The wire of the pickle tutorial: a length, then a NumPy array as written by Python's `pickle.dumps`.
//!
//! Here the camera listens; the viewer connects and sends nothing. The array is uint8, height x width x 3, in blue, green, red
//! order as in OpenCV. The length is a native C type, little-endian on all usual machines: 8 bytes, or 4 if a script packs "L"
//! on Windows or 32-bit Linux. There are no answers, and no end but the connection's. Cameras of other scripts are read as well
//! that listen and send anything that [`length`] knows.
//!
//! Sent pickles use protocol 3 and NumPy 1's module names, byte for byte like NumPy 1.19: every later NumPy loads them.
//! Received pickles may use protocols 0 to 5. They are parsed and never executed, see [`read`].

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Verdict, Wire, length,
    tutorial::{self, End, Outgoing, Size, Transmit, Tutorial},
    unpickle::op,
};
use crate::{Codec, Micros, WireError};

pub use super::unpickle::{Array, Jpeg, Pickled, read};

/// This wire's name.
pub const NAME: &str = "pickle";
/// This wire's row in [`WIRES`](super::WIRES).
pub const WIRE: Wire = Wire {
    name: NAME,
    summary: "a length, then a uint8 array of NumPy pickled, which is read and never executed",
    // Its viewer sends nothing, and a camera that pushes pickles speaks `length`.
    recognise: |_| Verdict::No,
    tutorial: Some(Tutorial {
        camera: End::Listens,
        port: 9999,
        size: Size::Width(320),
        codec: Codec::Bgr24,
        quality: None,
        receiver: |limits| tutorial::receiver(NAME, length::Parser::new(limits)),
        transmitter: |_| Box::<Transmitter>::default(),
    }),
};

/// Bytes of a length.
const HEADER: usize = 8;
/// The camera's side.
#[derive(Default)]
struct Transmitter {
    waiting: VecDeque<Bytes>,
}

/// The pickle up to the shape: makes an array without a shape, and starts its state.
const BEGIN: &[u8] =
    b"\x80\x03cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02C\x01bq\x03\
    \x87q\x04Rq\x05(K\x01";
/// Between the shape and the pixels: the type of the elements, and that they are in C order.
const TYPE: &[u8] = b"\x87q\x06cnumpy\ndtype\nq\x07X\x02\0\0\0u1q\x08\x89\x88\x87q\tRq\n(K\x03X\x01\0\0\0|q\x0bNNN\
    J\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tq\x0cb\x89";
/// After the pixels.
const END: &[u8] = b"q\rtq\x0eb.";

impl Transmit for Transmitter {
    fn ready(&self) -> bool {
        self.waiting.is_empty()
    }

    fn picture(&mut self, picture: &Outgoing, _wall: Micros) -> usize {
        let pixels = &picture.data;
        // A wrong number of bytes would crash the viewer's script, so such a picture is not sent.
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
        let length = head.len() - HEADER + pixels.len() + END.len();
        head[..HEADER].copy_from_slice(&(length as u64).to_le_bytes());
        self.waiting.extend([head.freeze(), pixels.clone(), Bytes::from_static(END)]);
        HEADER + length
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

/// Writes the opcode and length of a bytes object of less than 4 GiB.
fn put_length(out: &mut BytesMut, length: usize) {
    if let Ok(small) = u8::try_from(length) {
        out.put_slice(&[op::SHORT_BINBYTES, small]);
    } else {
        out.put_u8(op::BINBYTES);
        out.put_u32_le(length as u32);
    }
}
