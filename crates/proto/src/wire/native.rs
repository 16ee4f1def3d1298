//! framewire's own wire. PROTOCOL.md describes it for those who write a client in another language; the two are kept equal.
//!
//! Both ends begin with [`PREAMBLE`], then send messages: a header of eight bytes (kind, flags, two zero bytes, the body's
//! length) and the body. Numbers are little-endian. A message of an unknown kind is skipped, and so are bytes behind the
//! last field of a known one, so both can grow.
//!
//! [`Message`] is what the two ends say, [`Decoder`] takes a connection apart into it.

mod decoder;

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub use decoder::Decoder;

use super::Verdict;
use crate::{Codec, Config, Frame, Limits, Micros, Name, Rendition, Times, WireError, error::ErrorKind};

/// The word for this wire.
pub const NAME: &str = "native";
/// The version of this wire; one that a peer of the version before could not follow gets another number.
pub const VERSION: u8 = 1;
/// What each end sends first. The high first byte keeps it apart from text, the line end from programs that translate
/// line ends.
pub const PREAMBLE: [u8; 8] = [0x89, b'F', b'W', b'I', b'R', b'E', VERSION, b'\n'];
/// Bytes of a message's header.
pub const HEADER: usize = 8;
/// Bytes of a frame's fields before its coded picture.
pub const FRAME_FIELDS: usize = 48;

/// Whether a connection that begins with these bytes speaks this wire, in whatever version.
pub fn recognise(prefix: &[u8]) -> Verdict {
    super::begins(prefix, &PREAMBLE[..6])
}

/// What the two ends tell each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message of each end: the program and its version, for logs.
    Hello {
        /// For instance `framewire 0.1.0`.
        software: String,
    },
    /// Client to hub, before its Publish or Subscribe: which client this is a connection of.
    Session(Session),
    /// Client to hub: this connection will feed the stream of this name.
    Publish {
        /// The stream.
        name: Name,
        /// Its frames were coded long ago: no keyframe comes for being asked for.
        passthrough: bool,
    },
    /// Client to hub: this connection wants the stream of this name.
    Subscribe {
        /// The stream.
        name: Name,
        /// Wait for a stream that is not there (yet) instead of refusing.
        wait: bool,
        /// Queue frames, within bounds, instead of sending only the newest: what a recorder wants.
        every: bool,
        /// Nothing but JPEGs can be decoded here.
        jpegs: bool,
    },
    /// Hub to client: the publish or subscribe is granted.
    Accepted {
        /// The stream.
        name: Name,
    },
    /// How the frames that follow are coded.
    Config(Config),
    /// A frame.
    Frame(Frame),
    /// Receiver of frames to their sender: how far a frame came.
    Report(Report),
    /// Asks for a [`Message::Pong`] at once.
    Ping {
        /// The asker's clock.
        sent: Micros,
    },
    /// The answer to a ping.
    Pong {
        /// The `sent` of the ping.
        pinged: Micros,
        /// The answerer's clock when the ping came.
        received: Micros,
        /// The answerer's clock when this left.
        sent: Micros,
    },
    /// Hub to publisher: how many watch. While none does there is no need to encode or send.
    Demand {
        /// How many viewers the stream has.
        viewers: u32,
    },
    /// Hub to publisher, or viewer to hub: somebody cannot decode before a keyframe comes.
    Keyframe,
    /// Hub to viewer: how the stream is, whenever that changes.
    State(State),
    /// Hub to viewer: how it is served, now and then.
    Service(Service),
    /// What went wrong; the sender closes the connection after it.
    Error {
        /// See [`code`].
        code: u16,
        /// What, where and what to try, for a person.
        text: String,
    },
    /// The sender has nothing more to say and closes the connection.
    Bye {
        /// Why, for a person; may be empty.
        text: String,
    },
}

/// The numbers of [`Message::Error`].
pub mod code {
    /// Bytes that do not follow this wire.
    pub const PROTOCOL: u16 = 1;
    /// There is no stream of this name.
    pub const NO_SUCH_STREAM: u16 = 2;
    /// The name has a live publisher already.
    pub const NAME_TAKEN: u16 = 3;
    /// A message that does not fit here, such as a frame before its configuration.
    pub const UNEXPECTED: u16 = 4;
    /// A bound of the hub is reached: connections, streams.
    pub const TOO_MANY: u16 = 5;
    /// The other end did not answer or make progress in time.
    pub const TIMEOUT: u16 = 6;
    /// A frame that is not what its codec says.
    pub const BAD_FRAME: u16 = 7;
}

/// A client over all its connections: the newest takes over from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// What only this client and its hub know.
    pub token: Token,
    /// Rises from one connection of the client to the next, so that one that was late takes nothing over.
    pub turn: u64,
}

/// 128 random bits that a client is known by: whoever knows them may take its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

/// A secret has no place in a log.
impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token")
    }
}

/// How far a frame came at its receiver, on the receiver's clock; zero for what has not happened (yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// The frame.
    pub sequence: u64,
    /// Its last byte was received.
    pub received: Micros,
    /// It was decoded.
    pub decoded: Micros,
    /// It was shown, or handed to whoever wanted it.
    pub shown: Micros,
}

/// How a hub serves one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Service {
    /// What the viewer gets.
    pub rendition: Rendition,
    /// Bits a second that its link is believed to carry; 0 while that is not known.
    pub capacity: u64,
    /// Frames that were sent to it.
    pub delivered: u64,
    /// Frames that made way for newer ones.
    pub superseded: u64,
    /// Frames that needed one that was dropped.
    pub undecodable: u64,
    /// Frames for which a queue had no place.
    pub full: u64,
}

/// How a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Frames come.
    Live = 1,
    /// The publisher is gone, or frames stay away.
    Stalled = 2,
    /// The source sleeps because nobody watches.
    Idle = 3,
}

impl State {
    /// The word for it in JSON and on the page.
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

/// The kinds of messages, by their number on the wire.
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
}

/// Bytes of a configuration's fields before what its codec needs.
const CONFIG_FIELDS: usize = 12;
/// Bytes of a session: its token and its turn.
const SESSION_FIELDS: usize = 24;
/// Bytes of an error's code before its sentence.
const ERROR_FIELDS: usize = 4;
/// Bytes that every message but a frame or a text fits in.
const SMALL: usize = 128;

const KEYFRAME: u8 = 1;
const PASSED_ON: u8 = 1;
const WAIT: u8 = 1;
const EVERY: u8 = 2;
const JPEGS: u8 = 4;

impl Message {
    /// Appends the message to `out`. A frame's picture is copied; to send one without that see [`frame_head`]. A text over
    /// [`Limits::default`] is cut, so that the peer gets most of a sentence instead of refusing it; frames and
    /// configurations over the peer's limits are for their makers to avoid.
    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Hello { software } => text(out, kind::HELLO, cut(software)),
            Self::Session(Session { token, turn }) => {
                header(out, kind::SESSION, 0, SESSION_FIELDS);
                out.put_slice(&token.0);
                out.put_u64_le(*turn);
            }
            Self::Publish { name, passthrough } => {
                header(out, kind::PUBLISH, u8::from(*passthrough) * PASSED_ON, name.as_str().len());
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
                out.put_slice(&[0; 3]);
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
            Self::Bye { text: why } => text(out, kind::BYE, cut(why)),
        }
    }

    /// The message as bytes of its own, see [`Message::encode`].
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(SMALL);
        self.encode(&mut out);
        out.freeze()
    }

    /// The message that these bytes are, no more and no less, as a WebSocket carries it; `None` when it is one to skip.
    /// A frame's picture is shared with `whole`, not copied.
    ///
    /// # Errors
    /// The bytes do not follow the wire or a limit is broken. The error counts from the message's first byte.
    pub fn from_bytes(whole: Bytes, limits: &Limits) -> Result<Option<Self>, WireError> {
        parse_whole(whole, limits).map_err(|kind| WireError { wire: NAME, offset: 0, kind })
    }
}

/// What stands before a frame's picture on the wire: the message's header and the frame's fields.
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

/// A message's header, read.
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: u8,
    flags: u8,
    length: usize,
}

impl Head {
    /// The header that `bytes` begin with; `None` while it is not whole.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [kind, flags, _, _, length @ ..] = *bytes.first_chunk::<HEADER>()?;
        Some(Self { kind, flags, length: u32::from_le_bytes(length) as usize })
    }

    /// Bytes of header and body; one that passed [`Head::check`] cannot overflow.
    fn whole(self) -> usize {
        HEADER + self.length
    }

    /// Whether this kind is known, once its length is found within bounds.
    fn check(self, limits: &Limits) -> Result<bool, ErrorKind> {
        let known = self.limit(limits);
        let (what, limit) = known.unwrap_or(("a message of unknown kind", limits.unknown));
        if self.length > limit.min(usize::MAX - HEADER) {
            return Err(ErrorKind::TooLong { what, length: self.length as u64, limit: limit as u64 });
        }
        Ok(known.is_some())
    }

    /// What a known kind is called and how long its body may be.
    fn limit(self, limits: &Limits) -> Option<(&'static str, usize)> {
        Some(match self.kind {
            kind::FRAME => ("a frame", limits.frame.saturating_add(FRAME_FIELDS)),
            kind::CONFIG => ("a configuration", limits.extra.saturating_add(CONFIG_FIELDS)),
            kind::HELLO | kind::BYE => ("a text", limits.text),
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
    if whole.len() != head.whole() {
        let why = format!("it announces {} bytes and has {}", head.whole(), whole.len());
        return Err(invalid("a message", why));
    }
    if !known {
        return Ok(None);
    }
    whole.advance(HEADER);
    parse(head, whole)
}

/// One message of a known kind, its body whole; `None` when it says what only a newer program knows and can be skipped.
fn parse(head: Head, mut body: Bytes) -> Result<Option<Message>, ErrorKind> {
    let Head { kind, flags, .. } = head;
    Ok(Some(match kind {
        kind::HELLO => Message::Hello { software: as_text("a program's name", &body)? },
        kind::SESSION => Message::Session(as_session(&body)?),
        kind::PUBLISH => Message::Publish { name: as_name(&body)?, passthrough: flags & PASSED_ON != 0 },
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
        .ok_or_else(|| invalid("a configuration", format!("codec {number} is not known; update this program")))?;
    fields.advance(3);
    let (width, height, millifps) = (fields.get_u16_le(), fields.get_u16_le(), fields.get_u32_le());
    crate::limits::check_size(width.into(), height.into()).map_err(|why| invalid("a configuration", why))?;
    // A copy: a slice would keep the memory of whatever was read along with it for as long as the stream lives.
    let extra = Bytes::copy_from_slice(&body[CONFIG_FIELDS..]);
    Ok(Config { codec, width, height, millifps, extra })
}

fn as_name(body: &[u8]) -> Result<Name, ErrorKind> {
    let name = utf8("a stream's name", body)?;
    name.parse().map_err(|why: crate::name::InvalidName| invalid("a request", why.to_string()))
}

/// A text for a person. It ends in logs and on terminals, so control characters become spaces.
fn as_text(what: &'static str, body: &[u8]) -> Result<String, ErrorKind> {
    let text = utf8(what, body)?;
    Ok(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect())
}

fn utf8<'a>(what: &'static str, body: &'a [u8]) -> Result<&'a str, ErrorKind> {
    std::str::from_utf8(body).map_err(|_| invalid(what, "it is not UTF-8".into()))
}

/// The first `N` numbers of a body, which are taken off it.
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
    // Frames are bounded by `Limits` where they are made; a longer one could not be announced at all.
    out.put_u32_le(u32::try_from(length).expect("a message under 4 GiB"));
}

/// As much of a text as every peer takes.
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
