//! The wires of the many scripts that push a length and then a picture. They differ in both, so [`Layout`] is data, and the first
//! bytes tell it: a binary length of 2, 4 or 8 bytes in either order, a length in text of any width, a netstring, or nothing;
//! then a JPEG, its base64, a pickled array or a pickled JPEG.
//!
//! A length of 0 is the camera's end. There are no answers. Pickles are read and never executed, see [`pickle::read`](super::pickle::read).

mod layout;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};

pub use layout::{Body, Layout, Length};
use layout::{Form, Found};

use super::{
    Verdict, Wire,
    tutorial::{self, End, Inbox, Outgoing, Parse, Picture, Received, Size, Transmit, Tutorial, Width},
    unpickle::{self, Pickled},
};
use crate::{
    Codec, Limits, Micros, WireError,
    error::ErrorKind,
    jpeg::{self, Splitter},
};

/// This wire's name.
pub const NAME: &str = "length";
/// This wire's row in [`WIRES`](super::WIRES).
pub const WIRE: Wire = Wire {
    name: NAME,
    summary: "a length in any common form, then a JPEG, its base64 or a pickle",
    recognise,
    tutorial: Some(Tutorial {
        camera: End::Connects,
        port: 8485,
        size: Size::Own,
        codec: Codec::Jpeg,
        quality: Some(80),
        receiver: |limits| tutorial::receiver(NAME, Parser::new(limits)),
        transmitter: |width| Box::new(Transmitter { width, waiting: None }),
    }),
};

/// Bytes of a netstring's length that are enough to see its colon.
const NETSTRING: usize = 11;

/// Recognises this wire: a length within bounds and a picture's first bytes behind it.
pub fn recognise(prefix: &[u8]) -> Verdict {
    layout::detect(prefix).map_or_else(|verdict| verdict, |_| Verdict::Yes)
}

/// The viewer's side.
#[derive(Debug)]
pub(super) struct Parser {
    limits: Limits,
    /// How pictures are framed, once that was found.
    found: Option<Found>,
    /// Finds the pictures that have no length.
    splitter: Splitter,
    /// The layout was told.
    told: bool,
    /// A picture that comes behind what was told of it.
    waiting: Option<Picture>,
}

/// A length with the picture behind it.
struct Framed {
    header: usize,
    /// Bytes of the picture as it is written.
    body: usize,
    /// Bytes behind it: a netstring's comma.
    tail: usize,
}

/// A picture that was read, as far as that goes without its memory.
enum Read {
    Jpeg,
    Base64(Bytes),
    Pickled(Pickled),
    /// The camera got no picture.
    Nothing,
    TooLarge {
        length: u64,
        limit: u64,
    },
}

impl Framed {
    fn whole(&self) -> usize {
        self.header + self.body + self.tail
    }
}

impl Parser {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, found: None, splitter: Splitter::new(limits), told: false, waiting: None }
    }

    /// The layout, once the first bytes have told it.
    fn found(&mut self, inbox: &mut Inbox) -> Result<Option<Found>, ErrorKind> {
        if self.found.is_none() {
            match layout::detect(inbox.bytes()) {
                Ok(found) => self.found = Some(found),
                Err(Verdict::No) => {
                    let why = format!(
                        "no JPEG, no base64 of one and no pickle begins behind '{}'; a length is 2, 4 or 8 bytes, 4 to 64 characters or a netstring's",
                        inbox.shown()
                    );
                    return Err(ErrorKind::Invalid { what: "the first length", why });
                }
                Err(_) => {}
            }
        }
        Ok(self.found)
    }

    /// The length at the front, once that many bytes are here.
    fn framed(found: Found, inbox: &mut Inbox) -> Result<Option<Framed>, ErrorKind> {
        let (header, length, tail) = match found.length {
            Length::Netstring => {
                let bytes = inbox.bytes();
                let known = &bytes[..bytes.len().min(NETSTRING)];
                let Some(header) = known.iter().position(|byte| *byte == b':') else {
                    if known.len() < NETSTRING && known.iter().all(u8::is_ascii_digit) {
                        return Ok(None);
                    }
                    return Err(no_number(inbox, "digits and a colon"));
                };
                (header + 1, layout::number(&bytes[..header]), 1)
            }
            length => {
                let width = length.width().unwrap_or(0);
                if !inbox.holds(width) {
                    return Ok(None);
                }
                let field = &inbox.bytes()[..width];
                let text = matches!(length, Length::Text { .. });
                (width, if text { layout::number(field) } else { Some(length.binary(field)) }, 0)
            }
        };
        let length = length.ok_or_else(|| no_number(inbox, "a number of the same width as the first"))?;
        // A longer one is refused in any case.
        let body = usize::try_from(length).unwrap_or(usize::MAX).min(usize::MAX / 2);
        Ok(Some(Framed { header, body, tail }))
    }

    /// Settles the order of a length's bytes by where its picture ends: `false` if more bytes are needed. The shorter of the two
    /// possible lengths is right if a picture ends there, or another begins.
    fn settle(&mut self, found: Found, other: Length, inbox: &mut Inbox) -> Result<bool, ErrorKind> {
        let width = found.length.width().unwrap_or(0);
        if !inbox.holds(width) {
            return Ok(false);
        }
        let header = &inbox.bytes()[..width];
        let both = [found.length, other].map(|length| (length.binary(header), length));
        let [(short, shorter), (long, longer)] = if both[0].0 <= both[1].0 { both } else { [both[1], both[0]] };
        let settled = |length| Some(Found { length, other: None, ..found });
        let limit = crate::limits::LARGEST_FRAME as u64;
        if short == long {
            // The next picture decides.
        } else if short == 0 || long > limit {
            self.found = settled(if short == 0 { longer } else { shorter });
        } else if short > self.limit(found.form) as u64 {
            // Neither is held, so neither can be looked at.
            return Err(ErrorKind::TooLong {
                what: "a first picture",
                length: short,
                limit: self.limit(found.form) as u64,
            });
        } else {
            let end = width + short as usize;
            if !inbox.holds(end) {
                return Ok(false);
            }
            if self.ends(found.form, &inbox.bytes()[width..end]) {
                self.found = settled(shorter);
            } else {
                match found.goes_on(shorter, &inbox.bytes()[end..]) {
                    Verdict::Yes => self.found = settled(shorter),
                    Verdict::No => self.found = settled(longer),
                    Verdict::More => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Whether a picture ends where these bytes do.
    fn ends(&self, form: Form, body: &[u8]) -> bool {
        match form {
            Form::Jpeg => body.ends_with(&jpeg::EOI),
            Form::Base64 => decode(body).is_ok_and(|data| data.ends_with(&jpeg::EOI)),
            Form::Pickle => unpickle::read(body, &self.limits).is_ok(),
        }
    }

    /// The most bytes of a picture as it is written.
    fn limit(&self, form: Form) -> usize {
        match form {
            Form::Jpeg => tutorial::longest(self.limits.frame),
            // With line breaks.
            Form::Base64 => tutorial::longest(self.limits.frame).div_ceil(3) * 5,
            Form::Pickle => unpickle::longest(&self.limits),
        }
    }

    /// Reads a picture as it was written.
    fn read(&self, form: Form, body: &[u8]) -> Result<Read, ErrorKind> {
        Ok(match form {
            Form::Jpeg => Read::Jpeg,
            Form::Base64 => Read::Base64(decode(body)?),
            Form::Pickle => match unpickle::read(body, &self.limits) {
                Ok(None) => Read::Nothing,
                Ok(Some(pickled)) => Read::Pickled(pickled),
                Err(ErrorKind::TooLong { length, limit, .. }) => Read::TooLarge { length, limit },
                Err(error) => return Err(error),
            },
        })
    }

    /// The layout, once it is sure, and then the picture.
    fn tell(&mut self, found: Found, body: Body, picture: Picture) -> Option<Received> {
        if picture.data.is_empty() {
            return None;
        }
        if self.told || found.other.is_some() {
            return Some(Received::Picture(picture));
        }
        self.told = true;
        self.waiting = Some(picture);
        Some(Received::Recognised(Layout { length: found.length, body }.to_string()))
    }

    /// The next of the pictures that come one after another.
    fn unframed(&mut self, found: Found, inbox: &mut Inbox) -> Result<Option<Received>, ErrorKind> {
        let here = inbox.bytes().len();
        self.splitter.push(inbox.bytes());
        inbox.skip(here);
        match self.splitter.pull().map_err(|error| error.kind) {
            Ok(Some(data)) => Ok(self.tell(found, Body::Jpeg, Picture::jpeg(data))),
            Ok(None) => Ok(None),
            Err(ErrorKind::TooLong { length, limit, .. }) => Ok(Some(Received::TooLarge { length, limit })),
            Err(error) => Err(error),
        }
    }
}

impl Parse for Parser {
    fn next(&mut self, inbox: &mut Inbox) -> Result<Option<Received>, ErrorKind> {
        if let Some(picture) = self.waiting.take() {
            return Ok(Some(Received::Picture(picture)));
        }
        loop {
            let Some(found) = self.found(inbox)? else { return Ok(None) };
            if found.length == Length::None {
                return self.unframed(found, inbox);
            }
            if let Some(other) = found.other
                && !self.settle(found, other, inbox)?
            {
                return Ok(None);
            }
            let found = self.found.unwrap_or(found);
            let Some(framed) = Self::framed(found, inbox)? else { return Ok(None) };
            if framed.body == 0 {
                if !inbox.holds(framed.whole()) {
                    return Ok(None);
                }
                inbox.skip(framed.whole());
                return Ok(Some(Received::End));
            }
            if let Some(too_large) =
                inbox.pass_over(framed.header, framed.body as u64, framed.tail, self.limit(found.form))?
            {
                return Ok(Some(too_large));
            }
            if !inbox.holds(framed.whole()) {
                return Ok(None);
            }
            if framed.tail > 0 && inbox.bytes()[framed.whole() - 1] != b',' {
                let why = "no comma follows the netstring: its length counts the picture's bytes alone".into();
                return Err(ErrorKind::Invalid { what: "a picture", why });
            }
            let picture = framed.header..framed.header + framed.body;
            let read = self.read(found.form, &inbox.bytes()[picture.clone()])?;
            let body = inbox.take(framed.whole()).slice(picture);
            let told = match read {
                Read::Jpeg => self.tell(found, Body::Jpeg, Picture::jpeg(body)),
                Read::Base64(data) => self.tell(found, Body::Base64, Picture::jpeg(data)),
                Read::Pickled(pickled) => self.tell(found, pickled_body(&pickled), pickled.picture(&body)),
                Read::Nothing => None,
                Read::TooLarge { length, limit } => Some(Received::TooLarge { length, limit }),
            };
            if told.is_some() {
                return Ok(told);
            }
        }
    }
}

fn pickled_body(pickled: &Pickled) -> Body {
    match pickled {
        Pickled::Array(_) => Body::PickledArray,
        Pickled::Jpeg(_) => Body::PickledJpeg,
    }
}

fn no_number(inbox: &Inbox, wanted: &str) -> ErrorKind {
    ErrorKind::Invalid { what: "a length", why: format!("'{}' does not begin with {wanted}", inbox.shown()) }
}

/// A JPEG in base64, which may have line breaks.
fn decode(coded: &[u8]) -> Result<Bytes, ErrorKind> {
    let data = if coded.iter().any(u8::is_ascii_whitespace) {
        let coded: Vec<u8> = coded.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        STANDARD.decode(coded)
    } else {
        STANDARD.decode(coded)
    };
    let data = data.map_err(|error| ErrorKind::Invalid { what: "a picture in base64", why: error.to_string() })?;
    Ok(Bytes::from(data))
}

/// The camera's side: a length in 4 bytes, the highest first, or in 8.
struct Transmitter {
    width: Width,
    waiting: Option<Bytes>,
}

impl Transmit for Transmitter {
    fn ready(&self) -> bool {
        self.waiting.is_none()
    }

    fn picture(&mut self, picture: &Outgoing, _wall: Micros) -> usize {
        let mut bytes = BytesMut::with_capacity(8 + picture.data.len());
        match self.width {
            Width::Four => bytes.put_u32(picture.data.len() as u32),
            Width::Eight => bytes.put_u64(picture.data.len() as u64),
        }
        bytes.put_slice(&picture.data);
        self.waiting.insert(bytes.freeze()).len()
    }

    fn pull(&mut self) -> Result<Option<Bytes>, WireError> {
        Ok(self.waiting.take())
    }
}
