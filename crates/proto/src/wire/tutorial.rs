//! What the tutorials' wires have in common: a camera that sends pictures, and a viewer that receives them.
//!
//! Both are driven the same way: push received bytes, then pull until there is nothing more.

use bytes::{Buf, Bytes, BytesMut};

use super::room::Room;
use crate::{Codec, Limits, Micros, WireError, error::ErrorKind, limits::LARGEST_FRAME};

/// How a tutorial's scripts use their wire. framewire does the same by default.
#[derive(Debug, Clone, Copy)]
pub struct Tutorial {
    /// Whether the camera connects or listens.
    pub camera: End,
    /// The TCP port of the tutorial's scripts.
    pub port: u16,
    /// The size of the pictures.
    pub size: Size,
    /// The codec of the pictures.
    pub codec: Codec,
    /// The JPEG quality (1 to 100); `None` for raw pixels.
    pub quality: Option<u8>,
    /// Makes the viewer's side of one connection. It accepts pictures within these limits.
    pub receiver: fn(&Limits) -> Box<dyn Receive>,
    /// Makes the camera's side of one connection.
    pub transmitter: fn(Width) -> Box<dyn Transmit>,
}

/// How an end opens the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It connects; the other end listens.
    Connects,
    /// It listens; the other end connects and sends nothing.
    Listens,
}

/// The size of the pictures of a tutorial's camera, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// The source's own size.
    Own,
    /// This width and height, whatever the source's aspect ratio.
    Exactly(u16, u16),
    /// This width, and the height that keeps the source's aspect ratio.
    Width(u16),
}

/// The size of a C `long` at the other end. Only lhh's camera needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Width {
    /// 4 bytes: on Windows and 32-bit Linux, and in the tutorial's own server.
    #[default]
    Four,
    /// 8 bytes: on 64-bit Linux and macOS.
    Eight,
}

/// The viewer's side: parses the camera's bytes.
pub trait Receive: Send {
    /// The buffer to append received bytes to. It always has spare capacity.
    fn space(&mut self) -> &mut BytesMut;

    /// Appends received bytes.
    fn push(&mut self, bytes: &[u8]) {
        self.space().extend_from_slice(bytes);
    }

    /// Returns the next picture or answer; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The bytes do not follow the wire, or exceed a limit. Later calls return the same error: close the connection.
    fn pull(&mut self) -> Result<Option<Received>, WireError>;
}

/// What [`Receive::pull`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A picture.
    Picture(Picture),
    /// An answer to send back at once, in a TCP segment of its own.
    Answer(&'static [u8]),
    /// The camera has finished. Another may follow on the same connection.
    End,
    /// How the pictures are framed, in words, on a wire that has several ways: once, before the first picture that leaves no doubt.
    Recognised(String),
    /// A picture was announced that is over its limit. It is passed over and never held.
    TooLarge {
        /// Its bytes as it is written.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

/// A picture on a tutorial's wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its codec.
    pub codec: Codec,
    /// Width and height in pixels for raw pixels; `None` for a JPEG, because its own header has the size.
    pub size: Option<(u16, u16)>,
    /// When it was sent, in µs since 1970 (UTC), if the wire has the time.
    pub sent: Option<Micros>,
    /// The picture, never empty. A JPEG is not checked yet.
    pub data: Bytes,
}

impl Picture {
    /// A JPEG, nothing else known.
    pub(super) fn jpeg(data: Bytes) -> Self {
        Self { codec: Codec::Jpeg, size: None, sent: None, data }
    }
}

/// The camera's side: encodes pictures as bytes of the wire.
pub trait Transmit: Send {
    /// Whether the next picture may be sent.
    fn ready(&self) -> bool;

    /// Starts to send a picture at `wall` (µs since 1970, UTC). Returns how many bytes it takes on the wire. Call this only
    /// while [`Transmit::ready`].
    fn picture(&mut self, picture: &Outgoing, wall: Micros) -> usize;

    /// There are no more pictures.
    fn finish(&mut self) {}

    /// Appends received answers.
    fn push(&mut self, _answers: &[u8]) {}

    /// Returns the next bytes to send, in a write and a TCP segment of their own; `None` if there is nothing to send now.
    ///
    /// # Errors
    /// The answers do not follow the wire. Later calls return the same error: close the connection.
    fn pull(&mut self) -> Result<Option<Bytes>, WireError>;
}

/// A picture to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// The picture, in the wire's codec.
    pub data: Bytes,
}

/// Bounds a limit to 1 GiB, so that sums of lengths fit a `usize` on any machine.
pub(super) fn longest(limit: usize) -> usize {
    limit.min(1 << 30)
}

/// The most bytes of a picture as any wire writes it: in base64 with line breaks.
fn longest_written() -> usize {
    LARGEST_FRAME.div_ceil(3) * 5
}

/// The part of [`Receive`] that each wire implements itself.
pub(super) trait Parse: Send {
    /// Returns the next picture or answer in the inbox; `None` if more bytes are needed. Call [`Inbox::holds`] with the number
    /// of bytes needed: it reserves memory for them.
    ///
    /// # Errors
    /// What is wrong with the first bytes in the inbox.
    fn next(&mut self, inbox: &mut Inbox) -> Result<Option<Received>, ErrorKind>;
}

/// Makes the viewer's side of a wire with this parser.
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
        if !self.inbox.has_passed() {
            return Ok(None);
        }
        self.parser.next(&mut self.inbox).map_err(|kind| self.inbox.fail(kind))
    }
}

/// Received bytes that are not parsed yet.
#[derive(Debug)]
pub(super) struct Inbox {
    wire: &'static str,
    bytes: BytesMut,
    /// Position of `bytes` in the connection.
    offset: u64,
    room: Room,
    /// Bytes needed to continue; 0 if unknown.
    wanted: usize,
    /// Bytes still to pass over.
    passing: usize,
    failed: Option<WireError>,
}

/// The most bytes that are read at once where they are passed over.
const PASSED_AT_ONCE: usize = 64 << 10;

impl Inbox {
    pub(super) fn new(wire: &'static str) -> Self {
        Self { wire, bytes: BytesMut::new(), offset: 0, room: Room::default(), wanted: 0, passing: 0, failed: None }
    }

    /// The buffer to append received bytes to. After an error nothing is kept.
    pub(super) fn space(&mut self) -> &mut BytesMut {
        if self.failed.is_some() {
            self.bytes.clear();
        }
        self.room.reserve(&mut self.bytes, self.wanted);
        &mut self.bytes
    }

    /// Appends received bytes. After an error nothing is kept.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the inbox holds this many bytes. If not, reserves memory for them, within what [`Room`] allows the peer.
    pub(super) fn holds(&mut self, length: usize) -> bool {
        let here = self.bytes.len() >= length;
        if here {
            self.room.on_message(length);
        }
        self.wanted = if here { 0 } else { length };
        here
    }

    /// Passes over a picture of this length if it is over the limit, with so many bytes before it and behind it, which are passed over
    /// too; they need not be here yet.
    ///
    /// # Errors
    /// It is longer than any limit may be, so its length is wrong rather than the picture large.
    pub(super) fn pass_over(
        &mut self,
        before: usize,
        length: u64,
        behind: usize,
        limit: usize,
    ) -> Result<Option<Received>, ErrorKind> {
        let limit = limit as u64;
        if length <= limit {
            return Ok(None);
        }
        if length > longest_written() as u64 {
            return Err(ErrorKind::TooLong { what: "a picture", length, limit });
        }
        self.passing = before + length as usize + behind;
        Ok(Some(Received::TooLarge { length, limit }))
    }

    /// Drops what is to be passed over; whether all of it has been.
    fn has_passed(&mut self) -> bool {
        let here = self.passing.min(self.bytes.len());
        self.skip(here);
        self.passing -= here;
        if self.passing > 0 {
            self.wanted = self.passing.min(PASSED_AT_ONCE);
        }
        self.passing == 0
    }

    /// Takes the first bytes. The inbox must hold them.
    pub(super) fn take(&mut self, length: usize) -> Bytes {
        self.offset += length as u64;
        self.bytes.split_to(length).freeze()
    }

    /// Drops the first bytes. The inbox must hold them.
    pub(super) fn skip(&mut self, length: usize) {
        self.offset += length as u64;
        self.bytes.advance(length);
    }

    /// The first bytes, for an error message.
    pub(super) fn shown(&self) -> String {
        self.bytes[..self.bytes.len().min(16)].escape_ascii().to_string()
    }

    /// Returns the earlier error, if there was one.
    pub(super) fn intact(&self) -> Result<(), WireError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// The first bytes are wrong. From now on there is only this error.
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
