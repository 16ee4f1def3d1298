//! The few things that a picture's pickle is built of.

use std::{ops::Range, rc::Rc};

use super::Array;

/// What may stand on the stack.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i32),
    /// Text: its UTF-8, which was checked, stands at this place of the pickle. In Latin-1 it is so many bytes, if it is
    /// anything there.
    Text(Range<usize>, Option<usize>),
    /// Bytes at this place of the pickle. A string of Python 2 is this too.
    Bytes(Range<usize>),
    /// The bytes that the text at this place is in Latin-1, and how many.
    Latin1(Range<usize>, usize),
    Global(Global),
    Tuple(Rc<[Value]>),
    /// The type of one byte without a sign.
    Uint8,
    /// An array that has no shape yet.
    Empty,
    Array(Array),
}

/// What a picture's pickle names and Python would import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// Makes an array, which BUILD then fills.
    Reconstruct,
    /// Makes an array of the bytes that it is given.
    FromBuffer,
    Ndarray,
    Dtype,
    /// Makes bytes of text: so Python 3 writes them in protocol 2, which has none.
    Encode,
}

/// Module, name, what it is. NumPy 2 has moved some modules.
const GLOBALS: [(&str, &str, Global); 7] = [
    ("numpy.core.multiarray", "_reconstruct", Global::Reconstruct),
    ("numpy._core.multiarray", "_reconstruct", Global::Reconstruct),
    ("numpy.core.numeric", "_frombuffer", Global::FromBuffer),
    ("numpy._core.numeric", "_frombuffer", Global::FromBuffer),
    ("numpy", "ndarray", Global::Ndarray),
    ("numpy", "dtype", Global::Dtype),
    ("_codecs", "encode", Global::Encode),
];

impl Global {
    pub(super) fn find(module: &[u8], name: &[u8]) -> Option<Self> {
        let found = GLOBALS.iter().find(|known| known.0.as_bytes() == module && known.1.as_bytes() == name);
        found.map(|(_, _, global)| *global)
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Reconstruct => "_reconstruct",
            Self::FromBuffer => "_frombuffer",
            Self::Ndarray => "numpy.ndarray",
            Self::Dtype => "numpy.dtype",
            Self::Encode => "_codecs.encode",
        }
    }
}

impl Value {
    /// The value as Python would show it, cut short: for an error's words.
    pub(super) fn shown(&self, pickle: &[u8]) -> String {
        self.shown_within(pickle, 2)
    }

    /// Tuples are shown so deep: each may hold the one before it many times.
    fn shown_within(&self, pickle: &[u8], depth: usize) -> String {
        match self {
            Self::None => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Int(number) => number.to_string(),
            Self::Text(place, _) => shown(&pickle[place.clone()]),
            Self::Bytes(place) | Self::Latin1(place, _) => format!("b{}", shown(&pickle[place.clone()])),
            Self::Global(global) => global.shown().into(),
            Self::Tuple(_) if depth == 0 => "(...)".into(),
            Self::Tuple(values) => tuple(values.iter().map(|value| value.shown_within(pickle, depth - 1))),
            Self::Uint8 => "dtype('uint8')".into(),
            Self::Empty => "an array without a shape".into(),
            Self::Array(array) => format!("an array of {}x{}", array.width, array.height),
        }
    }
}

fn tuple(values: impl ExactSizeIterator<Item = String>) -> String {
    const MOST: usize = 9;
    let more = match values.len() {
        1 => ",",
        ..=MOST => "",
        _ => ", ...",
    };
    format!("({}{more})", values.take(MOST).collect::<Vec<_>>().join(", "))
}

/// Text or bytes of others, in quotes and cut short.
pub(super) fn shown(text: &[u8]) -> String {
    const MOST: usize = 40;
    match text.len() {
        ..=MOST => format!("'{}'", text.escape_ascii()),
        length => format!("'{}...' ({length} bytes)", text[..MOST].escape_ascii()),
    }
}
