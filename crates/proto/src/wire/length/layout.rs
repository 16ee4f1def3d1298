//! What a camera writes before and as each picture, and how its first bytes tell that.
//!
//! Every length of a picture is over 0 and under [`LARGEST_FRAME`], so its high bytes are 0 or nearly so, and no text is such a
//! length. Behind it a JPEG, the base64 of one or a pickle begins, and none of them begins like a length. So the place where one
//! begins gives the width of the length. What it leaves open is the order of the bytes, where both orders give a possible
//! length: [`Found::other`] then has the second, and the first picture's end decides.

use std::fmt;

use crate::{
    jpeg,
    limits::{LARGEST_FRAME, SIDE},
    wire::{Verdict, any, begins, unpickle},
};

/// How a camera frames its pictures. Displayed as words: `4-byte big-endian length, then a pickled JPEG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// What stands before each picture.
    pub length: Length,
    /// What each picture is written as.
    pub body: Body,
}

/// The length before each picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A number of so many bytes, the highest byte first or last.
    Binary {
        /// Its bytes: 2, 4 or 8.
        width: usize,
        /// Whether the highest byte comes first.
        big: bool,
    },
    /// Decimal digits, padded to so many characters with spaces at either end or with zeros.
    Text {
        /// Its characters.
        width: usize,
    },
    /// A netstring: decimal digits and a colon; a comma follows the picture.
    Netstring,
    /// None: JPEGs one after another.
    None,
}

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A JPEG.
    Jpeg,
    /// A JPEG in base64.
    Base64,
    /// A NumPy array of pixels, pickled.
    PickledArray,
    /// The bytes of a JPEG, pickled.
    PickledJpeg,
}

/// The beginning of what a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Jpeg,
    Base64,
    Pickle,
}

/// A layout that a connection's first bytes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) length: Length,
    /// The same with the bytes in the other order, where that gives a possible length too and no picture's end has decided yet.
    pub(super) other: Option<Length>,
    pub(super) form: Form,
}

/// The widths of a binary length.
const BINARY: [usize; 3] = [2, 4, 8];
/// The fewest and the most characters of a length in text. The shortest JPEG's length has three digits.
const TEXT: std::ops::RangeInclusive<usize> = 4..=64;
/// The characters of the base64 tutorial's length.
const BASE64_TUTORIAL: usize = 64;
/// The most digits of a netstring's length.
const NETSTRING_DIGITS: usize = 10;

/// What the first bytes of a connection say: the layout, once it is found.
pub(super) fn detect(prefix: &[u8]) -> Result<Found, Verdict> {
    const FOUR: usize = 0;
    let found = [binary(prefix, BINARY[1]), binary(prefix, BINARY[2]), text(prefix), none(prefix)];
    if let Some(found) = found.iter().find_map(|found| found.as_ref().ok()) {
        return Ok(*found);
    }
    let verdict = any(found.map(|found| found.err().unwrap_or(Verdict::No)));
    if found[FOUR] != Err(Verdict::No) {
        // A length of 4 bytes may end like a JPEG begins.
        return Err(verdict);
    }
    binary(prefix, BINARY[0]).map_err(|two| any([two, verdict]))
}

/// JPEGs with nothing before them.
fn none(prefix: &[u8]) -> Result<Found, Verdict> {
    match begins(prefix, &jpeg::MAGIC) {
        Verdict::Yes => Ok(Found { length: Length::None, other: None, form: Form::Jpeg }),
        verdict => Err(verdict),
    }
}

/// A length of so many bytes. One of two is for JPEGs alone: a pickle's first bytes are no surer sign than that.
fn binary(prefix: &[u8], width: usize) -> Result<Found, Verdict> {
    let lengths = [false, true].map(|big| Length::Binary { width, big });
    let mut possible = lengths.into_iter().filter(|length| length.may_be_one(prefix));
    let Some(length) = possible.next() else { return Err(Verdict::No) };
    let form = form(prefix.get(width..).unwrap_or_default())?;
    if width == BINARY[0] && form != Form::Jpeg {
        return Err(Verdict::No);
    }
    Ok(Found { length, other: possible.next(), form })
}

/// A length in text, or a netstring's.
fn text(prefix: &[u8]) -> Result<Found, Verdict> {
    let spaces = prefix.iter().take_while(|byte| **byte == b' ').count();
    let digits = prefix[spaces..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let padding = prefix[spaces + digits..].iter().take_while(|byte| **byte == b' ').count();
    let width = spaces + digits + padding;
    if width > *TEXT.end() {
        return Err(Verdict::No);
    }
    let Some(next) = prefix.get(width) else { return Err(Verdict::More) };
    let netstring = *next == b':' && width == digits && digits <= NETSTRING_DIGITS;
    if !(netstring || TEXT.contains(&width)) || !(1..=LARGEST).contains(&number(&prefix[..width]).unwrap_or(0)) {
        return Err(Verdict::No);
    }
    let form = form(&prefix[width + usize::from(netstring)..])?;
    if width == BASE64_TUTORIAL && spaces == 0 && padding > 0 && form == Form::Base64 {
        // A time of sending follows each picture there.
        return Err(Verdict::No);
    }
    Ok(Found { length: if netstring { Length::Netstring } else { Length::Text { width } }, other: None, form })
}

/// The number in a text that is padded with spaces.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all_digits)?.parse().ok()
}

/// What begins here.
fn form(body: &[u8]) -> Result<Form, Verdict> {
    let forms = [
        (begins(body, &jpeg::MAGIC), Form::Jpeg),
        (begins(body, b"/9j/"), Form::Base64),
        (pickled(body), Form::Pickle),
    ];
    let yes = forms.iter().find(|(verdict, _)| *verdict == Verdict::Yes);
    yes.map(|(_, form)| *form).ok_or_else(|| any(forms.map(|(verdict, _)| verdict)))
}

/// Whether a pickle begins here, and not the rest of an lhh header: the width 640 there is the same as protocol 2's first two
/// bytes, but a JPEG follows the height.
fn pickled(body: &[u8]) -> Verdict {
    let pickle = unpickle::begins(body);
    let height = body.get(2..4).map_or(0, |height| u32::from(u16::from_le_bytes([height[0], height[1]])));
    if pickle == Verdict::No || body.first() != Some(&0x80) || height > SIDE {
        return pickle;
    }
    match begins(body.get(4..).unwrap_or_default(), &jpeg::MAGIC) {
        Verdict::Yes => Verdict::No,
        Verdict::No => pickle,
        Verdict::More => Verdict::More,
    }
}

impl Length {
    /// Bytes before a picture; `None` where that varies.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Self::Binary { width, .. } | Self::Text { width } => Some(width),
            Self::Netstring => None,
            Self::None => Some(0),
        }
    }

    /// The number in a binary length.
    pub(super) fn binary(self, bytes: &[u8]) -> u64 {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self {
            Self::Binary { big: true, .. } => bytes.iter().fold(0, add),
            _ => bytes.iter().rev().fold(0, add),
        }
    }

    /// Whether `prefix` may begin with such a binary length, as far as it goes.
    fn may_be_one(self, prefix: &[u8]) -> bool {
        let Self::Binary { width, .. } = self else { return false };
        let mut known = [0; 8];
        let here = prefix.len().min(width);
        known[..here].copy_from_slice(&prefix[..here]);
        let least = self.binary(&known[..width]);
        // What is missing yet only adds to it.
        least <= LARGEST && (least > 0 || here < width)
    }
}

impl Found {
    /// Whether another length and picture, or the end, may begin like this; `More` while too few bytes are known.
    pub(super) fn goes_on(&self, length: Length, bytes: &[u8]) -> Verdict {
        let width = length.width().unwrap_or(0);
        let Some(header) = bytes.get(..width) else { return Verdict::More };
        match length.binary(header) {
            0 => Verdict::Yes,
            1..=LARGEST => form(&bytes[width..]).map_or_else(|verdict| verdict, |form| verdict_of(form == self.form)),
            _ => Verdict::No,
        }
    }
}

/// [`LARGEST_FRAME`] as a length.
const LARGEST: u64 = LARGEST_FRAME as u64;

fn verdict_of(yes: bool) -> Verdict {
    if yes { Verdict::Yes } else { Verdict::No }
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = match self.body {
            Body::Jpeg => "a JPEG",
            Body::Base64 => "a JPEG in base64",
            Body::PickledArray => "a pickled array",
            Body::PickledJpeg => "a pickled JPEG",
        };
        match self.length {
            Length::Binary { width, big } => {
                let order = if big { "big" } else { "little" };
                write!(out, "{width}-byte {order}-endian length, then {body}")
            }
            Length::Text { width } => write!(out, "length in {width} characters of text, then {body}"),
            Length::Netstring => write!(out, "netstring with {body}"),
            Length::None => out.write_str("JPEGs one after another without a length"),
        }
    }
}
