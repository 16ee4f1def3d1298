//! What the tutorials' wires have in common: a camera's end that sends pictures and a displaying end that takes them.
//!
//! Both are driven like everything here: push what came, then pull until there is nothing more.

use bytes::{Buf, Bytes, BytesMut};

use super::room::Room;
use crate::{Codec, Limits, Micros, WireError, error::ErrorKind};

/// How a tutorial's scripts use their wire: what framewire does too where nothing else is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Tutorial {
    /// What the camera's end does to meet the other.
    pub camera: End,
    /// The TCP port of its scripts.
    pub port: u16,
    /// The size of its pictures.
    pub size: Size,
    /// What its pictures are coded in.
    pub codec: Codec,
    /// JPEG quality (1 to 100), where they are JPEGs.
    pub quality: Option<u8>,
    /// The displaying end of one connection, taking pictures within these limits.
    pub receiver: fn(&Limits) -> Box<dyn Receive>,
    /// The camera's end of one connection.
    pub transmitter: fn(Width) -> Box<dyn Transmit>,
}

/// What an end of a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It connects: the other end listens.
    Connects,
    /// It listens: the other end connects and says nothing.
    Listens,
}

/// The size of the pictures that a tutorial's camera sends, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As the source gives them.
    Own,
    /// This width and height, whatever the source's shape.
    Exactly(u16, u16),
    /// This width, and the height that keeps the source's shape.
    Width(u16),
}

/// How wide a C `long` is at the other end, which only lhh's camera must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Width {
    /// 4 bytes: Windows, 32-bit Linux, and what the tutorial's own server reads.
    #[default]
    Four,
    /// 8 bytes: 64-bit Linux and macOS.
    Eight,
}

/// The displaying end: takes a camera's bytes apart.
pub trait Receive: Send {
    /// Where to append what was read: always some spare capacity.
    fn space(&mut self) -> &mut BytesMut;

    /// Appends bytes that were read elsewhere.
    fn push(&mut self, bytes: &[u8]) {
        self.space().extend_from_slice(bytes);
    }

    /// The next picture or answer; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The bytes do not follow the wire or a limit is broken. The error stays: close the connection.
    fn pull(&mut self) -> Result<Option<Received>, WireError>;
}

/// What a displaying end pulls from a camera's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A picture.
    Picture(Picture),
    /// Bytes to be sent back at once, in a segment of their own.
    Answer(&'static [u8]),
    /// The camera has sent all that it has. Another may follow on the same connection.
    End,
}

/// A picture as a tutorial's wire carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// What it is coded in.
    pub codec: Codec,
    /// Width and height in pixels where the wire itself is to be believed; of a JPEG, its own header is.
    pub size: Option<(u16, u16)>,
    /// When it was sent, in µs since 1970 (UTC), where the wire says so.
    pub sent: Option<Micros>,
    /// The picture, never empty. Nobody has looked into it yet.
    pub data: Bytes,
}

impl Picture {
    /// A JPEG of which nothing else is known.
    pub(super) fn jpeg(data: Bytes) -> Self {
        Self { codec: Codec::Jpeg, size: None, sent: None, data }
    }
}

/// The camera's end: puts pictures into bytes.
pub trait Transmit: Send {
    /// Whether the next picture may be begun.
    fn ready(&self) -> bool;

    /// Begins a picture, sent at `wall` (µs since 1970, UTC), and tells how many bytes it takes. To be called only while
    /// [`Transmit::ready`].
    fn picture(&mut self, picture: &Outgoing, wall: Micros) -> usize;

    /// There will be no more pictures.
    fn finish(&mut self) {}

    /// Takes answers that came.
    fn push(&mut self, _answers: &[u8]) {}

    /// The next bytes to be written, in a write and a segment of their own; `None` when there is nothing to write now.
    ///
    /// # Errors
    /// The answers do not follow the wire. The error stays: close the connection.
    fn pull(&mut self) -> Result<Option<Bytes>, WireError>;
}

/// A picture to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// The picture, in the codec that the wire wants.
    pub data: Bytes,
}

/// The longest picture within this limit: a gigabyte at most, so that sums of lengths fit a `usize` on any machine.
pub(super) fn longest(limit: usize) -> usize {
    limit.min(1 << 30)
}

/// A wire's own part of a displaying end: takes what came apart.
pub(super) trait Parse: Send {
    /// The next picture or answer in what came; `None` when more bytes are needed, and how many must have come by then is
    /// best asked of [`Inbox::holds`], which makes room for them.
    ///
    /// # Errors
    /// What is wrong with the bytes that are first in the inbox.
    fn next(&mut self, inbox: &mut Inbox) -> Result<Option<Received>, ErrorKind>;
}

/// The displaying end of a wire that is parsed so.
pub(super) fn receiver(wire: &'static str, parser: impl Parse + 'static) -> Box<dyn Receive> {
    Box::new(Receiver { inbox: Inbox::new(wire), parser })
}

struct Receiver<P> {
    inbox: Inbox,
    parser: P,
}

impl<P: Parse> Receive for Receiver<P> {
    fn space(&mut self) -> &mut BytesMut {
        self.inbox.space()
    }

    fn pull(&mut self) -> Result<Option<Received>, WireError> {
        self.inbox.intact()?;
        self.parser.next(&mut self.inbox).map_err(|kind| self.inbox.fail(kind))
    }
}

/// What came and is not taken yet.
#[derive(Debug)]
pub(super) struct Inbox {
    wire: &'static str,
    bytes: BytesMut,
    /// Bytes of the connection before these.
    offset: u64,
    room: Room,
    /// Bytes that must have come before it goes on; 0 when that is not known.
    wanted: usize,
    failed: Option<WireError>,
}

impl Inbox {
    pub(super) fn new(wire: &'static str) -> Self {
        Self { wire, bytes: BytesMut::new(), offset: 0, room: Room::default(), wanted: 0, failed: None }
    }

    /// Where to append what was read; once the wire was broken nothing is kept any more.
    pub(super) fn space(&mut self) -> &mut BytesMut {
        if self.failed.is_some() {
            self.bytes.clear();
        }
        self.room.make(&mut self.bytes, self.wanted);
        &mut self.bytes
    }

    /// Appends what came; once the wire was broken nothing is kept any more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether so many bytes have come. If not, they get memory of their own as far as the peer has earned it.
    pub(super) fn holds(&mut self, length: usize) -> bool {
        let here = self.bytes.len() >= length;
        if here {
            self.room.prove(length);
        }
        self.wanted = if here { 0 } else { length };
        here
    }

    /// The length of a header and of what it announces, once both have come whole: the header's first bytes, so many of
    /// them, are the length of what follows it, little-endian.
    pub(super) fn framed(
        &mut self,
        header: usize,
        number: usize,
        what: &'static str,
        limit: usize,
    ) -> Result<Option<usize>, ErrorKind> {
        if !self.holds(header) {
            return Ok(None);
        }
        let (length, limit) = (super::little_endian(&self.bytes[..number]), limit as u64);
        if length > limit {
            return Err(ErrorKind::TooLong { what, length, limit });
        }
        let whole = header + length as usize;
        Ok(self.holds(whole).then_some(whole))
    }

    /// Takes the first bytes, which must have come.
    pub(super) fn take(&mut self, length: usize) -> Bytes {
        self.offset += length as u64;
        self.bytes.split_to(length).freeze()
    }

    /// Drops the first bytes, which must have come.
    pub(super) fn skip(&mut self, length: usize) {
        self.offset += length as u64;
        self.bytes.advance(length);
    }

    /// The beginning of what came, for an error's words.
    pub(super) fn shown(&self) -> String {
        self.bytes[..self.bytes.len().min(16)].escape_ascii().to_string()
    }

    /// Says again what was wrong, if anything was.
    pub(super) fn intact(&self) -> Result<(), WireError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// The bytes that come first now are wrong: from here on there is only this error.
    pub(super) fn fail(&mut self, kind: ErrorKind) -> WireError {
        let error = WireError { wire: self.wire, offset: self.offset, kind };
        self.bytes = BytesMut::new();
        self.wanted = 0;
        self.failed = Some(error.clone());
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_after_an_error() {
        let mut inbox = Inbox::new("test");
        inbox.push(b"good, bad");
        inbox.skip(6);
        assert!(!inbox.holds(1 << 20));
        let error = inbox.fail(ErrorKind::NotThisWire);
        assert_eq!((error.wire, error.offset), ("test", 6));
        inbox.push(b"more");
        assert_eq!(inbox.bytes(), b"");
        assert!(inbox.space().capacity() <= 4 << 10, "{}", inbox.bytes.capacity());
        assert_eq!(inbox.intact(), Err(error));
    }
}
