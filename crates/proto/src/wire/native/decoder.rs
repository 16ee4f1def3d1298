//! Takes a connection's bytes apart into messages.

use std::io;

use bytes::{Buf, BytesMut};

use super::{HEADER, Head, Message, NAME, PREAMBLE, VERSION, parse, recognise};
use crate::{
    Limits, WireError,
    error::ErrorKind,
    wire::{Verdict, room::Room},
};

/// Turns a connection's bytes into messages: fill [`Decoder::space`] (or [`Decoder::push`]), then [`Decoder::pull`]
/// until there are none.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    buffer: BytesMut,
    /// Bytes of the connection before the message that is read now.
    offset: u64,
    /// The preamble was seen.
    begun: bool,
    /// Bytes of a message that are still to be thrown away.
    skip: usize,
    room: Room,
    failed: Option<WireError>,
}

/// Room cleared at once for a reader that needs that: what stays in the processor's cache until it is read into.
const CLEARED: usize = 64 << 10;

impl Decoder {
    /// A decoder for one direction of a connection, from its first byte.
    pub fn new(limits: Limits) -> Self {
        Self { limits, buffer: BytesMut::new(), offset: 0, begun: false, skip: 0, room: Room::default(), failed: None }
    }

    /// Where to append what was read: always some spare capacity, and no more than the rest of the message that has
    /// begun when that is long. So a frame has memory of its own, which its bytes are read into and stay in.
    pub fn space(&mut self) -> &mut BytesMut {
        let announced = self.announced().unwrap_or(0);
        self.room.make(&mut self.buffer, announced);
        &mut self.buffer
    }

    /// Reads once from a blocking reader into the space; returns how many bytes came, 0 at the reader's end. This clears
    /// the room first, at most 64 KiB at a time; a reader that takes memory of any content goes without by
    /// [`Decoder::space`].
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read_from(&mut self, reader: &mut impl io::Read) -> io::Result<usize> {
        let space = self.space();
        let held = space.len();
        space.resize(space.capacity().min(held + CLEARED), 0);
        let read = reader.read(&mut space[held..]);
        space.truncate(held + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Appends bytes that were read elsewhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.space().extend_from_slice(bytes);
    }

    /// The next message, or `None` when more bytes are needed for it.
    ///
    /// # Errors
    /// The bytes do not follow the wire or a limit is broken. The error stays: close the connection.
    pub fn pull(&mut self) -> Result<Option<Message>, WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.next().map_err(|kind| {
            let error = WireError { wire: NAME, offset: self.offset, kind };
            self.buffer = BytesMut::new();
            self.failed = Some(error.clone());
            error
        })
    }

    fn next(&mut self) -> Result<Option<Message>, ErrorKind> {
        if !self.begun && !self.begin()? {
            return Ok(None);
        }
        loop {
            self.throw_away();
            let Some(head) = self.head() else { return Ok(None) };
            if !head.check(&self.limits)? {
                self.skip = head.whole();
                continue;
            }
            if self.buffer.len() < head.whole() {
                return Ok(None);
            }
            let mut body = self.buffer.split_to(head.whole()).freeze();
            body.advance(HEADER);
            let message = parse(head, body)?;
            self.offset += head.whole() as u64;
            self.room.prove(head.whole());
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// Takes the preamble off; false while it is not whole.
    fn begin(&mut self) -> Result<bool, ErrorKind> {
        match recognise(&self.buffer) {
            Verdict::No => return Err(ErrorKind::NotThisWire),
            Verdict::Yes if self.buffer.len() >= PREAMBLE.len() => {}
            _ => return Ok(false),
        }
        let (theirs, end) = (self.buffer[6], self.buffer[7]);
        if theirs != VERSION {
            return Err(ErrorKind::Version { theirs, ours: VERSION });
        }
        if end != PREAMBLE[7] {
            return Err(ErrorKind::NotThisWire);
        }
        self.advance(PREAMBLE.len());
        self.begun = true;
        Ok(true)
    }

    fn throw_away(&mut self) {
        let here = self.skip.min(self.buffer.len());
        self.advance(here);
        self.skip -= here;
    }

    /// The header of the message that begins the buffer.
    fn head(&self) -> Option<Head> {
        if !self.begun || self.skip > 0 {
            return None;
        }
        Head::read(&self.buffer)
    }

    /// The bytes of the message that has begun, when it is one to keep.
    fn announced(&self) -> Option<usize> {
        let head = self.head()?;
        head.check(&self.limits).ok()?.then(|| head.whole())
    }

    fn advance(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
    }
}
