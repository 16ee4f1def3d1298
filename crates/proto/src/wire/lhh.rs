//! The wire of the tutorial that uses `struct.pack("lhh", …)`: length, width and height, then a JPEG.
//!
//! The fields are native C types, little-endian on all usual machines. The header has 12 bytes if a C `long` has 8 bytes, and 8
//! bytes if it has 4. The position of the JPEG shows which. There are no answers, and no end but the connection's.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Verdict, Wire,
    tutorial::{self, End, Inbox, Outgoing, Parse, Picture, Received, Size, Transmit, Tutorial, Width},
};
use crate::{
    Codec, Limits, Micros, WireError,
    error::ErrorKind,
    jpeg,
    limits::{LARGEST_FRAME, SIDE},
};

/// This wire's name.
pub const NAME: &str = "lhh";
/// This wire's row in [`WIRES`](super::WIRES).
pub const WIRE: Wire = Wire {
    name: NAME,
    summary: "length, width and height as Python packs \"lhh\", then a JPEG",
    recognise,
    tutorial: Some(Tutorial {
        camera: End::Connects,
        port: 1234,
        size: Size::Exactly(640, 480),
        codec: Codec::Jpeg,
        quality: Some(15),
        receiver: |limits| tutorial::receiver(NAME, Parser::new(limits)),
        transmitter: |width| Box::new(Transmitter { width, waiting: None }),
    }),
};

/// Bytes of a header, for a `long` of 4 and of 8 bytes.
const HEADERS: [usize; 2] = [8, 12];
/// Bytes of width and height.
const SIZE: usize = 4;

/// Recognises this wire: a length within the limit, then width and height, then a JPEG. Without a size it is another wire's
/// length of 8 bytes.
pub fn recognise(prefix: &[u8]) -> Verdict {
    super::any(HEADERS.map(|header| {
        let sides = prefix.get(header - SIZE..header).map(|size| [&size[..2], &size[2..]].map(super::little_endian));
        let is_size = |sides: [u64; 2]| sides.iter().all(|side| (1..=u64::from(SIDE)).contains(side));
        if !super::within(prefix, header - SIZE, LARGEST_FRAME as u64) || !sides.is_none_or(is_size) {
            return Verdict::No;
        }
        super::begins(prefix.get(header..).unwrap_or_default(), &jpeg::MAGIC)
    }))
}

/// The viewer's side.
#[derive(Debug)]
struct Parser {
    limit: usize,
    /// Bytes of a header; `None` until the first picture.
    header: Option<usize>,
}

impl Parser {
    fn new(limits: &Limits) -> Self {
        Self { limit: tutorial::longest(limits.frame), header: None }
    }

    /// The size of the header at the front; `None` until it is known. A camera may start with an empty frame, which has no JPEG
    /// to find. Then the four bytes after a zero length decide: they are zero if they belong to an 8-byte length, and not zero
    /// if they are width and height.
    fn header(&self, bytes: &[u8]) -> Result<Option<usize>, ErrorKind> {
        if self.header.is_some() {
            return Ok(self.header);
        }
        if bytes.len() < HEADERS[0] {
            return Ok(None);
        }
        if super::little_endian(&bytes[..SIZE]) == 0 {
            let long = super::little_endian(&bytes[SIZE..HEADERS[0]]) == 0;
            return Ok(Some(HEADERS[usize::from(long)]));
        }
        match HEADERS.map(|header| super::begins(bytes.get(header..).unwrap_or_default(), &jpeg::MAGIC)) {
            [Verdict::Yes, _] => Ok(Some(HEADERS[0])),
            [_, Verdict::Yes] => Ok(Some(HEADERS[1])),
            [Verdict::No, Verdict::No] => {
                let why = "no JPEG begins after 8 or 12 bytes".into();
                Err(ErrorKind::Invalid { what: "the first header", why })
            }
            _ => Ok(None),
        }
    }
}

impl Parse for Parser {
    fn next(&mut self, inbox: &mut Inbox) -> Result<Option<Received>, ErrorKind> {
        while let Some(header) = self.header(inbox.bytes())? {
            if !inbox.holds(header) {
                return Ok(None);
            }
            let length = super::little_endian(&inbox.bytes()[..header - SIZE]);
            if let Some(too_large) = inbox.pass_over(header, length, 0, self.limit)? {
                self.header = Some(header);
                return Ok(Some(too_large));
            }
            let whole = header + length as usize;
            if !inbox.holds(whole) {
                return Ok(None);
            }
            let data = inbox.take(whole).slice(header..);
            if !data.is_empty() {
                self.header = Some(header);
                return Ok(Some(Received::Picture(Picture::jpeg(data))));
            }
        }
        Ok(None)
    }
}

/// The camera's side.
struct Transmitter {
    width: Width,
    waiting: Option<Bytes>,
}

impl Transmit for Transmitter {
    fn ready(&self) -> bool {
        self.waiting.is_none()
    }

    fn picture(&mut self, picture: &Outgoing, _wall: Micros) -> usize {
        let mut bytes = BytesMut::with_capacity(HEADERS[1] + picture.data.len());
        match self.width {
            Width::Four => bytes.put_u32_le(picture.data.len() as u32),
            Width::Eight => bytes.put_u64_le(picture.data.len() as u64),
        }
        // In C they are signed shorts. Pictures sent here are never larger.
        bytes.put_u16_le(picture.width.min(i16::MAX as u16));
        bytes.put_u16_le(picture.height.min(i16::MAX as u16));
        bytes.put_slice(&picture.data);
        self.waiting.insert(bytes.freeze()).len()
    }

    fn pull(&mut self) -> Result<Option<Bytes>, WireError> {
        Ok(self.waiting.take())
    }
}
