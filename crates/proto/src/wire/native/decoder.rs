//! Splits a connection's bytes into messages.

use std::io;

use bytes::{Buf, BytesMut};

use super::{FRAME_FIELDS, HEADER, Head, Message, NAME, Oversized, PREAMBLE, VERSION, parse, recognise};
use crate::{
    Limits, WireError,
    error::ErrorKind,
    wire::{Verdict, room::Room},
};

/// Splits a connection's bytes into messages. A frame over the limit is passed over and never held: [`Message::Oversized`] stands for it.
/// Read into [`Decoder::space`] (or call [`Decoder::push`]), then call
/// [`Decoder::pull`] until it returns `None`.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    buffer: BytesMut,
    /// Position of the current message in the connection, in bytes.
    offset: u64,
    /// Whether the preamble was read.
    has_preamble: bool,
    /// Bytes still to skip of a message of an unknown kind, or of a frame over the limit.
    skip: usize,
    room: Room,
    failed: Option<WireError>,
}

/// The most bytes to zero before one read. 64 KiB stay in the processor's cache until they are read into.
const ZEROED: usize = 64 << 10;

impl Decoder {
    /// A decoder for one direction of a connection, starting at its first byte.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            offset: 0,
            has_preamble: false,
            skip: 0,
            room: Room::default(),
            failed: None,
        }
    }

    /// Sets the limits from the next message on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The buffer to append received bytes to. It always has spare capacity. Inside a long message that is no more than the
    /// rest of the message. So the bytes of a frame are read into a memory block of its own, and are not copied.
    pub fn space(&mut self) -> &mut BytesMut {
        let announced = self.announced().unwrap_or(0);
        self.room.reserve(&mut self.buffer, announced);
        &mut self.buffer
    }

    /// Reads once from a blocking reader. Returns the number of bytes, 0 at the reader's end. Zeroes up to 64 KiB first;
    /// readers that accept uninitialised memory should use [`Decoder::space`] instead.
    ///
    /// # Errors
    /// The reader's errors.
    pub fn read_from(&mut self, reader: &mut impl io::Read) -> io::Result<usize> {
        let space = self.space();
        let held = space.len();
        space.resize(space.capacity().min(held + ZEROED), 0);
        let read = reader.read(&mut space[held..]);
        space.truncate(held + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.space().extend_from_slice(bytes);
    }

    /// Returns the next message, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// The bytes do not follow the wire, or exceed a limit. Later calls return the same error: close the connection.
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
        if !self.has_preamble && !self.read_preamble()? {
            return Ok(None);
        }
        loop {
            self.skip_unknown();
            let Some(head) = self.head() else { return Ok(None) };
            if head.is_oversized(&self.limits) {
                return Ok(self.pass_over(head));
            }
            if !head.check(&self.limits)? {
                self.skip = head.total();
                continue;
            }
            if self.buffer.len() < head.total() {
                return Ok(None);
            }
            let mut body = self.buffer.split_to(head.total()).freeze();
            body.advance(HEADER);
            let message = parse(head, body)?;
            self.offset += head.total() as u64;
            self.room.on_message(head.total());
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// Takes the preamble off; returns false if it is incomplete.
    fn read_preamble(&mut self) -> Result<bool, ErrorKind> {
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
        self.has_preamble = true;
        Ok(true)
    }

    /// Passes over a frame, once its number is here.
    fn pass_over(&mut self, head: Head) -> Option<Message> {
        let mut fields = self.buffer.get(HEADER..HEADER + FRAME_FIELDS)?;
        let (sequence, length) = (fields.get_u64_le(), head.length - FRAME_FIELDS);
        self.skip = head.total();
        Some(Message::Oversized(Oversized { sequence, length, limit: self.limits.frame }))
    }

    fn skip_unknown(&mut self) {
        let here = self.skip.min(self.buffer.len());
        self.advance(here);
        self.skip -= here;
    }

    /// The header at the start of the buffer.
    fn head(&self) -> Option<Head> {
        if !self.has_preamble || self.skip > 0 {
            return None;
        }
        Head::read(&self.buffer)
    }

    /// The total bytes of the message at the start of the buffer, if it is of a known kind and within its limit.
    fn announced(&self) -> Option<usize> {
        let head = self.head()?;
        head.check(&self.limits).ok()?.then(|| head.total())
    }

    fn advance(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
    }
}
