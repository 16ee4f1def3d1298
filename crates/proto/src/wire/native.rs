//! framewire's native wire. PROTOCOL.md describes it for writers of clients; keep the two in step.
//!
//! Both ends send [`PREAMBLE`], then messages: a header of eight bytes (kind, flags, two zero bytes, length of the body) and
//! the body. Numbers are little-endian. A receiver skips messages of an unknown kind, and bytes after the last known field. So
//! new kinds and new fields can be added.
//!
//! [`Message`] is one message, [`Decoder`] splits a connection's bytes into messages.

mod decoder;

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use decoder::Decoder;

use super::Verdict;
use crate::{
    Codec, Config, Frame, Limits, Micros, Name, Orientation, PixelAspect, Presentation, Rendition, Times, WireError,
    error::ErrorKind, limits::LARGEST_FRAME,
};

/// This wire's name in errors, logs and statistics.
pub const NAME: &str = "native";
/// The version of this wire. It changes only if an older peer could not ignore the change.
pub const VERSION: u8 = 1;
/// The first bytes of each end. The first byte is not ASCII, so no text protocol starts like this. The line feed at the end
/// detects programs that translate line ends.
pub const PREAMBLE: [u8; 8] = [0x89, b'F', b'W', b'I', b'R', b'E', VERSION, b'\n'];
/// Bytes of a message's header.
pub const HEADER: usize = 8;
/// Bytes of a frame's fields before its coded picture.
pub const FRAME_FIELDS: usize = 48;

/// Whether these first bytes of a connection are this wire's, in any version.
pub fn recognise(prefix: &[u8]) -> Verdict {
    super::begins(prefix, &PREAMBLE[..6])
}

/// A message of either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message of each end: the program and its version, for logs.
    Hello {
        /// For instance `framewire 0.1.0`.
        software: String,
    },
    /// Client to hub, before Publish or Subscribe: identifies the client, see [`Session`].
    Session(Session),
    /// Client to hub: this connection will feed this stream.
    Publish {
        /// The stream.
        name: Name,
        /// The frames were encoded earlier, so the client cannot make a keyframe on request.
        passthrough: bool,
    },
    /// Client to hub: this connection wants to receive this stream.
    Subscribe {
        /// The stream.
        name: Name,
        /// Wait if there is no such stream, instead of getting an error.
        wait: bool,
        /// Send every frame through a bounded queue, instead of the newest only: for a recorder.
        every: bool,
        /// The viewer can decode only JPEG.
        jpegs: bool,
    },
    /// Hub to client: Publish or Subscribe succeeded.
    Accepted {
        /// The stream.
        name: Name,
    },
    /// The format of the frames that follow.
    Config(Config),
    /// A frame.
    Frame(Frame),
    /// Receiver of frames to their sender: when a frame was received, decoded and shown.
    Report(Report),
    /// Asks for a [`Message::Pong`] at once.
    Ping {
        /// When the ping was sent, on the sender's clock.
        sent: Micros,
    },
    /// The answer to a ping.
    Pong {
        /// The `sent` of the ping.
        pinged: Micros,
        /// When the ping arrived, on the clock of the end that answers.
        received: Micros,
        /// When this answer was sent, on the same clock.
        sent: Micros,
    },
    /// Hub to publisher: the number of viewers. While it is 0 the publisher need not encode or send.
    Demand {
        /// The number of viewers.
        viewers: u32,
    },
    /// Viewer to hub, or hub to publisher: a viewer cannot decode until a keyframe arrives.
    Keyframe,
    /// Hub to viewer: the state of the stream, whenever it changes.
    State(State),
    /// Hub to viewer, once a second: how the hub serves this viewer.
    Service(Service),
    /// Publisher to hub, and hub to viewer: why there is no picture. Empty: there is one again.
    Fault {
        /// What failed, on what, why: for a person.
        text: String,
    },
    /// A fault. The sender closes the connection after it.
    Error {
        /// See [`code`].
        code: u16,
        /// What failed, on what, why, and what to try: for a person.
        text: String,
    },
    /// The sender has finished and closes the connection.
    Bye {
        /// The reason, for a person; may be empty.
        text: String,
    },
    /// Not a message of the wire, and never sent: stands for a frame over the receiver's limit that the [`Decoder`] passes over.
    Oversized(Oversized),
}

/// The codes of [`Message::Error`]. PROTOCOL.md reserves 6 and 7, which framewire does not send.
pub mod code {
    /// The bytes do not follow this wire.
    pub const PROTOCOL: u16 = 1;
    /// No stream has this name.
    pub const NO_SUCH_STREAM: u16 = 2;
    /// The name already has a live publisher.
    pub const NAME_TAKEN: u16 = 3;
    /// A message is not allowed here, such as a frame before its configuration.
    pub const UNEXPECTED: u16 = 4;
    /// The hub is full.
    pub const TOO_MANY: u16 = 5;
}

/// Identifies a client over all its connections. Its newest connection takes over from the older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// A secret of this client and its hub.
    pub token: Token,
    /// Rises with each connection of the client, so that a late connection does not replace a newer one.
    pub turn: u64,
}

/// 128 random bits that identify a client. Anyone who knows them can take over the client's place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

/// Does not print the secret, because it could end up in a log.
impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token")
    }
}

/// When the receiver had received, decoded and shown a frame, on the receiver's clock; zero if it has not (yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// The frame's number.
    pub sequence: u64,
    /// When its last byte arrived.
    pub received: Micros,
    /// When it was decoded.
    pub decoded: Micros,
    /// When it was shown, or passed to the program that reads the frames.
    pub shown: Micros,
}

/// A frame that was announced, and is passed over because its picture is over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversized {
    /// The frame's number.
    pub sequence: u64,
    /// Bytes of its picture.
    pub length: usize,
    /// The limit in bytes.
    pub limit: usize,
}

/// How a hub serves one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Service {
    /// The rendition that the viewer gets.
    pub rendition: Rendition,
    /// The measured capacity of its link in bits a second; 0 if unknown.
    pub capacity: u64,
    /// Frames sent to the viewer.
    pub delivered: u64,
    /// Frames dropped because a newer one replaced them.
    pub superseded: u64,
    /// Frames dropped because they needed a dropped frame.
    pub undecodable: u64,
    /// Frames dropped because a queue was full.
    pub full: u64,
}

/// The state of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Frames arrive.
    Live = 1,
    /// The publisher is gone, or sends no frames.
    Stalled = 2,
    /// The source sleeps because there are no viewers.
    Idle = 3,
}

impl State {
    /// Its name in JSON and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Idle => "idle",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Live, Self::Stalled, Self::Idle].into_iter().find(|state| *state as u8 == number)
    }
}

/// The numbers of the message kinds.
mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const PUBLISH: u8 = 2;
    pub(super) const SUBSCRIBE: u8 = 3;
    pub(super) const ACCEPTED: u8 = 4;
    pub(super) const CONFIG: u8 = 5;
    pub(super) const FRAME: u8 = 6;
    pub(super) const REPORT: u8 = 7;
    pub(super) const PING: u8 = 8;
    pub(super) const PONG: u8 = 9;
    pub(super) const DEMAND: u8 = 10;
    pub(super) const STATE: u8 = 11;
    pub(super) const ERROR: u8 = 12;
    pub(super) const BYE: u8 = 13;
    pub(super) const KEYFRAME: u8 = 14;
    pub(super) const SERVICE: u8 = 15;
    pub(super) const SESSION: u8 = 16;
    pub(super) const FAULT: u8 = 17;
}

/// Bytes of Config's fields before the codec's own data.
const CONFIG_FIELDS: usize = 12;
/// Bytes of Session: token and turn.
const SESSION_FIELDS: usize = 24;
/// Bytes of Error's fields before its text.
const ERROR_FIELDS: usize = 4;
/// The buffer for a small message, in bytes. Only frames, configurations and texts are larger.
const SMALL: usize = 128;

// Flags of Frame, of Publish, and of Subscribe.
const KEYFRAME: u8 = 1;
const PASSTHROUGH: u8 = 1;
const WAIT: u8 = 1;
const EVERY: u8 = 2;
const JPEGS: u8 = 4;

impl Message {
    /// Appends the message to `out`. This copies a frame's picture; [`frame_head`] avoids the copy. Cuts a text that is over
    /// [`Limits::default`], because the peer would refuse it. Does not check the size of frames and configurations: the caller
    /// must.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Hello { software } => text(out, kind::HELLO, cut(software)),
            Self::Session(Session { token, turn }) => {
                header(out, kind::SESSION, 0, SESSION_FIELDS);
                out.put_slice(&token.0);
                out.put_u64_le(*turn);
            }
            Self::Publish { name, passthrough } => {
                header(out, kind::PUBLISH, u8::from(*passthrough) * PASSTHROUGH, name.as_str().len());
                out.put_slice(name.as_str().as_bytes());
            }
            Self::Subscribe { name, wait, every, jpegs } => {
                let flags = (u8::from(*wait) * WAIT) | (u8::from(*every) * EVERY) | (u8::from(*jpegs) * JPEGS);
                header(out, kind::SUBSCRIBE, flags, name.as_str().len());
                out.put_slice(name.as_str().as_bytes());
            }
            Self::Accepted { name } => text(out, kind::ACCEPTED, name.as_str()),
            Self::Config(config) => {
                header(out, kind::CONFIG, 0, CONFIG_FIELDS + config.extra.len());
                out.put_u8(config.codec as u8);
                out.put_slice(&presentation(config.presentation));
                out.put_u16_le(config.width);
                out.put_u16_le(config.height);
                out.put_u32_le(config.millifps);
                out.put_slice(&config.extra);
            }
            Self::Frame(frame) => {
                out.put_slice(&frame_head(frame));
                out.put_slice(&frame.data);
            }
            Self::Report(report) => {
                numbers(out, kind::REPORT, &[report.sequence, report.received, report.decoded, report.shown]);
            }
            Self::Ping { sent } => numbers(out, kind::PING, &[*sent]),
            Self::Pong { pinged, received, sent } => numbers(out, kind::PONG, &[*pinged, *received, *sent]),
            Self::Demand { viewers } => {
                header(out, kind::DEMAND, 0, 4);
                out.put_u32_le(*viewers);
            }
            Self::Keyframe => header(out, kind::KEYFRAME, 0, 0),
            Self::State(state) => {
                header(out, kind::STATE, 0, 4);
                out.put_slice(&[*state as u8, 0, 0, 0]);
            }
            Self::Service(service) => {
                let Service { rendition, capacity, delivered, superseded, undecodable, full } = *service;
                numbers(out, kind::SERVICE, &[rendition as u64, capacity, delivered, superseded, undecodable, full]);
            }
            Self::Error { code, text } => {
                let text = cut(text);
                header(out, kind::ERROR, 0, ERROR_FIELDS + text.len());
                out.put_u16_le(*code);
                out.put_u16_le(0);
                out.put_slice(text.as_bytes());
            }
            Self::Fault { text: why } => text(out, kind::FAULT, cut(why)),
            Self::Bye { text: why } => text(out, kind::BYE, cut(why)),
            Self::Oversized(_) => {}
        }
    }

    /// Returns the message as bytes, see [`Message::encode`].
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(SMALL);
        self.encode(&mut out);
        out.freeze()
    }

    /// Parses bytes that are exactly one message, as in a WebSocket message. Returns `None` for a message to skip. A frame's
    /// picture shares memory with `whole`; it is not copied.
    ///
    /// # Errors
    /// The bytes do not follow the wire, or exceed a limit. The error's offset counts from the message's first byte.
    pub fn from_bytes(whole: Bytes, limits: &Limits) -> Result<Option<Self>, WireError> {
        parse_whole(whole, limits).map_err(|kind| WireError { wire: NAME, offset: 0, kind })
    }
}

/// The bytes before a frame's picture: the message's header and the frame's fields.
pub fn frame_head(frame: &Frame) -> [u8; HEADER + FRAME_FIELDS] {
    let mut head = [0; HEADER + FRAME_FIELDS];
    let mut out = head.as_mut_slice();
    header(&mut out, kind::FRAME, u8::from(frame.keyframe) * KEYFRAME, FRAME_FIELDS + frame.data.len());
    let Times { captured, encoded, sent, received, forwarded, .. } = frame.times;
    for number in [frame.sequence, captured, encoded, sent, received, forwarded] {
        out.put_u64_le(number);
    }
    head
}

/// A message's header.
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: u8,
    flags: u8,
    length: usize,
}

impl Head {
    /// Reads the header at the start of `bytes`; `None` if it is incomplete.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [kind, flags, _, _, length @ ..] = *bytes.first_chunk::<HEADER>()?;
        Some(Self { kind, flags, length: u32::from_le_bytes(length) as usize })
    }

    /// Bytes of header and body. Cannot overflow after [`Head::check`].
    fn total(self) -> usize {
        HEADER + self.length
    }

    /// Whether it is a frame that is over the limit and yet no longer than any may be.
    fn is_oversized(self, limits: &Limits) -> bool {
        let most = LARGEST_FRAME + FRAME_FIELDS;
        self.kind == kind::FRAME && self.length > limits.frame.saturating_add(FRAME_FIELDS) && self.length <= most
    }

    /// Checks the length. Returns whether the kind is known.
    fn check(self, limits: &Limits) -> Result<bool, ErrorKind> {
        let known = self.limit(limits);
        let (what, limit) = known.unwrap_or(("a message of unknown kind", limits.unknown));
        if self.length > limit.min(usize::MAX - HEADER) {
            return Err(ErrorKind::TooLong { what, length: self.length as u64, limit: limit as u64 });
        }
        Ok(known.is_some())
    }

    /// A known kind's name in errors, and the limit of its body.
    fn limit(self, limits: &Limits) -> Option<(&'static str, usize)> {
        Some(match self.kind {
            kind::FRAME => ("a frame", limits.frame.saturating_add(FRAME_FIELDS)),
            kind::CONFIG => ("a configuration", limits.extra.saturating_add(CONFIG_FIELDS)),
            kind::HELLO | kind::BYE | kind::FAULT => ("a text", limits.text),
            kind::ERROR => ("an error", limits.text.saturating_add(ERROR_FIELDS)),
            kind::PUBLISH | kind::SUBSCRIBE | kind::ACCEPTED => ("a stream's name", limits.text),
            kind::REPORT
            | kind::PING
            | kind::PONG
            | kind::DEMAND
            | kind::STATE
            | kind::KEYFRAME
            | kind::SERVICE
            | kind::SESSION => ("a control message", limits.text),
            _ => return None,
        })
    }
}

fn parse_whole(mut whole: Bytes, limits: &Limits) -> Result<Option<Message>, ErrorKind> {
    let head = Head::read(&whole).ok_or(ErrorKind::TooShort { message: "a message", length: whole.len() })?;
    let known = head.check(limits)?;
    if whole.len() != head.total() {
        let why = format!("the header announces {} bytes and the message has {}", head.total(), whole.len());
        return Err(invalid("a message", why));
    }
    if !known {
        return Ok(None);
    }
    whole.advance(HEADER);
    parse(head, whole)
}

/// Parses a message of a known kind from its complete body. Returns `None` to skip the message: it has a value from a newer
/// version.
fn parse(head: Head, mut body: Bytes) -> Result<Option<Message>, ErrorKind> {
    let Head { kind, flags, .. } = head;
    Ok(Some(match kind {
        kind::HELLO => Message::Hello { software: as_text("a program's name", &body)? },
        kind::SESSION => Message::Session(as_session(&body)?),
        kind::PUBLISH => Message::Publish { name: as_name(&body)?, passthrough: flags & PASSTHROUGH != 0 },
        kind::SUBSCRIBE => Message::Subscribe {
            name: as_name(&body)?,
            wait: flags & WAIT != 0,
            every: flags & EVERY != 0,
            jpegs: flags & JPEGS != 0,
        },
        kind::ACCEPTED => Message::Accepted { name: as_name(&body)? },
        kind::CONFIG => Message::Config(as_config(&body)?),
        kind::FRAME => {
            let [sequence, captured, encoded, sent, received, forwarded] = fields("a frame", &mut body)?;
            let times = Times { captured, encoded, sent, received, forwarded, ..Times::default() };
            Message::Frame(Frame { sequence, keyframe: flags & KEYFRAME != 0, times, data: body })
        }
        kind::REPORT => {
            let [sequence, received, decoded, shown] = fields("a report", &mut body)?;
            Message::Report(Report { sequence, received, decoded, shown })
        }
        kind::PING => {
            let [sent] = fields("a ping", &mut body)?;
            Message::Ping { sent }
        }
        kind::PONG => {
            let [pinged, received, sent] = fields("a pong", &mut body)?;
            Message::Pong { pinged, received, sent }
        }
        kind::KEYFRAME => Message::Keyframe,
        kind::DEMAND => Message::Demand { viewers: need("a demand", &body, 4)?.get_u32_le() },
        kind::STATE => {
            let number = need("a state", &body, 4)?.get_u8();
            match State::from_number(number) {
                Some(state) => Message::State(state),
                None => return Ok(None),
            }
        }
        kind::SERVICE => {
            let [rendition, capacity, delivered, superseded, undecodable, full] = fields("a service", &mut body)?;
            let Some(rendition) = Rendition::from_number(rendition) else { return Ok(None) };
            Message::Service(Service { rendition, capacity, delivered, superseded, undecodable, full })
        }
        kind::ERROR => {
            let mut fields = need("an error", &body, ERROR_FIELDS)?;
            let code = fields.get_u16_le();
            Message::Error { code, text: as_text("an error's sentence", &body[ERROR_FIELDS..])? }
        }
        kind::FAULT => Message::Fault { text: as_text("a fault", &body)? },
        kind::BYE => Message::Bye { text: as_text("a bye", &body)? },
        _ => return Ok(None),
    }))
}

fn as_session(body: &[u8]) -> Result<Session, ErrorKind> {
    let mut fields = need("a session", body, SESSION_FIELDS)?;
    let mut token = Token([0; 16]);
    fields.copy_to_slice(&mut token.0);
    Ok(Session { token, turn: fields.get_u64_le() })
}

fn as_config(body: &[u8]) -> Result<Config, ErrorKind> {
    let mut fields = need("a configuration", body, CONFIG_FIELDS)?;
    let number = fields.get_u8();
    let codec = Codec::from_number(number)
        .ok_or_else(|| invalid("a configuration", format!("codec {number} is unknown; update this program")))?;
    let presentation = as_presentation([fields.get_u8(), fields.get_u8(), fields.get_u8()]);
    let (width, height, millifps) = (fields.get_u16_le(), fields.get_u16_le(), fields.get_u32_le());
    crate::limits::check_size(width.into(), height.into()).map_err(|why| invalid("a configuration", why))?;
    // Copied: a slice would keep the whole read buffer in memory as long as the stream lives.
    let extra = Bytes::copy_from_slice(&body[CONFIG_FIELDS..]);
    Ok(Config { codec, width, height, millifps, extra, presentation })
}

/// Three bytes that are zero where the picture is shown as it is: older programs write and ignore zeros there.
fn presentation(presentation: Presentation) -> [u8; 3] {
    let (width, height) = match presentation.pixel_aspect {
        PixelAspect::SQUARE => (0, 0),
        other => other.parts(),
    };
    [presentation.orientation.exif() - 1, width, height]
}

/// What makes no sense is ignored.
fn as_presentation([orientation, width, height]: [u8; 3]) -> Presentation {
    Presentation {
        orientation: Orientation::from_exif(u16::from(orientation) + 1).unwrap_or_default(),
        pixel_aspect: PixelAspect::new(width.into(), height.into()),
    }
}

fn as_name(body: &[u8]) -> Result<Name, ErrorKind> {
    let name = utf8("a stream's name", body)?;
    name.parse().map_err(|why: crate::name::InvalidName| invalid("a request", why.to_string()))
}

/// A text for a person. Control characters become spaces, because the text appears in logs and on terminals.
fn as_text(what: &'static str, body: &[u8]) -> Result<String, ErrorKind> {
    let text = utf8(what, body)?;
    Ok(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect())
}

fn utf8<'a>(what: &'static str, body: &'a [u8]) -> Result<&'a str, ErrorKind> {
    std::str::from_utf8(body).map_err(|_| invalid(what, "the text is not UTF-8".into()))
}

/// Takes the first `N` numbers off a body.
fn fields<const N: usize>(message: &'static str, body: &mut Bytes) -> Result<[u64; N], ErrorKind> {
    need(message, body, 8 * N)?;
    Ok(std::array::from_fn(|_| body.get_u64_le()))
}

fn need<'a>(message: &'static str, body: &'a [u8], length: usize) -> Result<&'a [u8], ErrorKind> {
    if body.len() < length {
        return Err(ErrorKind::TooShort { message, length: body.len() });
    }
    Ok(body)
}

fn invalid(what: &'static str, why: String) -> ErrorKind {
    ErrorKind::Invalid { what, why }
}

fn header(out: &mut impl BufMut, kind: u8, flags: u8, length: usize) {
    out.put_slice(&[kind, flags, 0, 0]);
    // Callers keep frames within `Limits`. A length over 4 GiB does not fit the header.
    out.put_u32_le(u32::try_from(length).expect("a message under 4 GiB"));
}

/// Cuts a text to the length that every peer accepts.
fn cut(text: &str) -> &str {
    let limit = Limits::default().text;
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

fn text(out: &mut impl BufMut, kind: u8, text: &str) {
    header(out, kind, 0, text.len());
    out.put_slice(text.as_bytes());
}

fn numbers(out: &mut impl BufMut, kind: u8, numbers: &[u64]) {
    header(out, kind, 0, 8 * numbers.len());
    for number in numbers {
        out.put_u64_le(*number);
    }
}
