//! The wire of the stop-and-wait tutorial: `b"<length>, "`, an answer `ok`, a JPEG, an answer `ok`; at the end `over`.
//!
//! The tutorial's camera compares whole reads: two answers that arrive together (`okok`) hang it. Its server reads a header or
//! `over` with one `recv(1024)` and expects nothing else in it. So both sides here send each of these in a segment of its own,
//! and only when the other side waits for it.

use bytes::Bytes;

use super::{
    Verdict, Wire,
    tutorial::{self, End, Inbox, Outgoing, Parse, Picture, Received, Size, Transmit, Tutorial},
};
use crate::{Codec, Limits, Micros, WireError, error::ErrorKind, limits::LARGEST_FRAME};

/// This wire's name.
pub const NAME: &str = "stopwait";
/// This wire's row in [`WIRES`](super::WIRES).
pub const WIRE: Wire = Wire {
    name: NAME,
    summary: "'LENGTH, ' and a JPEG, each answered with 'ok'",
    recognise,
    tutorial: Some(Tutorial {
        camera: End::Connects,
        port: 8080,
        size: Size::Own,
        codec: Codec::Jpeg,
        quality: Some(30),
        receiver: |limits| tutorial::receiver(NAME, Parser::new(limits)),
        transmitter: |_| Box::new(Transmitter::default()),
    }),
};

const OK: &[u8] = b"ok";
const OVER: &[u8] = b"over";
/// Follows a length.
const ENDS: &[u8] = b", ";

/// Recognises this wire: digits, a comma and a space; or `over`.
pub fn recognise(prefix: &[u8]) -> Verdict {
    super::any([super::after_digits(prefix, ENDS), super::begins(prefix, OVER)])
}

/// The viewer's side.
#[derive(Debug)]
struct Parser {
    limit: usize,
    step: Step,
}

/// What the viewer's side does next.
#[derive(Debug)]
enum Step {
    /// Reads a header or `over`.
    Header,
    /// Reads a JPEG of this many bytes. Its header was answered.
    Picture(usize),
    /// Passes over a JPEG of this many bytes, which is too large. Its header was answered.
    PassOver(u64),
    /// Has passed over it, and answers it too.
    Passed,
    /// Returns the JPEG. It was answered first, so the camera continues while the JPEG is decoded.
    Give(Bytes),
}

impl Parser {
    fn new(limits: &Limits) -> Self {
        Self { limit: tutorial::longest(limits.frame), step: Step::Header }
    }

    /// Takes the header off and returns its length field; `None` if more bytes are needed.
    fn header(&self, inbox: &mut Inbox) -> Result<Option<usize>, ErrorKind> {
        let bytes = inbox.bytes();
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ends = super::begins(&bytes[digits..], ENDS);
        if digits == 0 || digits > super::DIGITS || ends == Verdict::No {
            let why = format!("'{}' is neither 'LENGTH, ' nor 'over'", inbox.shown());
            return Err(ErrorKind::Invalid { what: "a header", why });
        }
        if ends == Verdict::More {
            return Ok(None);
        }
        let length = bytes[..digits].iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if length > LARGEST_FRAME as u64 {
            return Err(ErrorKind::TooLong { what: "a picture", length, limit: self.limit as u64 });
        }
        if length == 0 {
            // An empty picture would be complete at once, and its two answers together would hang the camera.
            return Err(ErrorKind::Invalid { what: "a header", why: "a picture of 0 bytes is not allowed".into() });
        }
        inbox.skip(digits + ENDS.len());
        Ok(Some(length as usize))
    }
}

impl Parse for Parser {
    fn next(&mut self, inbox: &mut Inbox) -> Result<Option<Received>, ErrorKind> {
        match std::mem::replace(&mut self.step, Step::Header) {
            Step::Header => match super::begins(inbox.bytes(), OVER) {
                Verdict::More => Ok(None),
                Verdict::Yes => {
                    inbox.skip(OVER.len());
                    Ok(Some(Received::End))
                }
                Verdict::No => {
                    let Some(length) = self.header(inbox)? else { return Ok(None) };
                    self.step = if length > self.limit { Step::PassOver(length as u64) } else { Step::Picture(length) };
                    Ok(Some(Received::Answer(OK)))
                }
            },
            Step::Picture(length) => {
                if !inbox.holds(length) {
                    self.step = Step::Picture(length);
                    return Ok(None);
                }
                self.step = Step::Give(inbox.take(length));
                Ok(Some(Received::Answer(OK)))
            }
            Step::PassOver(length) => {
                self.step = Step::Passed;
                inbox.pass_over(0, length, 0, self.limit)
            }
            Step::Passed => Ok(Some(Received::Answer(OK))),
            Step::Give(data) => Ok(Some(Received::Picture(Picture::jpeg(data)))),
        }
    }
}

/// The camera's side.
#[derive(Debug)]
struct Transmitter {
    state: State,
    finished: bool,
    answers: Inbox,
}

/// What the camera's side does next.
#[derive(Debug)]
enum State {
    /// Accepts a picture, or sends `over`.
    Ready,
    /// Sends the header of this picture.
    Header(Bytes),
    /// Sends this picture when its header is answered.
    Picture(Bytes),
    /// Waits for the answer to a picture.
    Answer,
    /// Does nothing: `over` was sent.
    Over,
}

impl Default for Transmitter {
    fn default() -> Self {
        Self { state: State::Ready, finished: false, answers: Inbox::new(NAME) }
    }
}

impl Transmitter {
    fn next(&mut self) -> Result<Option<Bytes>, ErrorKind> {
        self.check_owed()?;
        if matches!(self.state, State::Answer) && self.answered()? {
            self.state = State::Ready;
            self.check_owed()?;
        }
        match &self.state {
            State::Ready if self.finished => {
                self.state = State::Over;
                Ok(Some(Bytes::from_static(OVER)))
            }
            State::Header(picture) => {
                let header = format!("{}, ", picture.len());
                self.state = State::Picture(picture.clone());
                Ok(Some(Bytes::from(header)))
            }
            State::Picture(picture) => {
                let picture = picture.clone();
                if !self.answered()? {
                    return Ok(None);
                }
                self.state = State::Answer;
                Ok(Some(picture))
            }
            State::Ready | State::Answer | State::Over => Ok(None),
        }
    }

    /// Refuses more answers than this picture still needs. An early answer is kept for its turn. But an answer kept for a
    /// header that is not sent yet would make that header and its picture arrive together.
    fn check_owed(&self) -> Result<(), ErrorKind> {
        let owed = match self.state {
            State::Ready | State::Header(_) => 0,
            State::Picture(_) => 2,
            State::Answer => 1,
            State::Over => return Ok(()),
        };
        if self.answers.bytes().len() <= owed * OK.len() {
            return Ok(());
        }
        let why = format!("'{}' was received where at most {owed} times 'ok' is expected", self.answers.shown());
        Err(ErrorKind::Invalid { what: "an answer", why })
    }

    /// Whether the expected answer has arrived.
    fn answered(&mut self) -> Result<bool, ErrorKind> {
        match super::begins(self.answers.bytes(), OK) {
            Verdict::Yes => {
                self.answers.skip(OK.len());
                Ok(true)
            }
            Verdict::More => Ok(false),
            Verdict::No => {
                let why = format!("'{}' is not 'ok'", self.answers.shown());
                Err(ErrorKind::Invalid { what: "an answer", why })
            }
        }
    }
}

impl Transmit for Transmitter {
    fn ready(&self) -> bool {
        matches!(self.state, State::Ready) && !self.finished
    }

    fn picture(&mut self, picture: &Outgoing, _wall: Micros) -> usize {
        // An empty picture cannot be sent, see [`Parser::header`].
        if !picture.data.is_empty() {
            self.state = State::Header(picture.data.clone());
        }
        picture.data.len()
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn push(&mut self, answers: &[u8]) {
        // No answer to `over` is expected.
        if !matches!(self.state, State::Over) {
            self.answers.push(answers);
        }
    }

    fn pull(&mut self) -> Result<Option<Bytes>, WireError> {
        self.answers.intact()?;
        self.next().map_err(|kind| self.answers.fail(kind))
    }
}
