//! The few kinds of value in a picture's pickle.

use std::rc::Rc;

use super::{Array, bytes::Stored};

/// A value on the stack.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i32),
    Text(Stored),
    /// Bytes, also a string of Python 2.
    Bytes(Stored),
    Global(Global),
    Tuple(Rc<[Value]>),
    /// NumPy's type uint8.
    Uint8,
    /// An array without a shape yet.
    Empty,
    Array(Array),
    /// An array of one row or column: the bytes of a JPEG, if it is one.
    Column(Stored),
}

/// A global that a picture's pickle names. Python would import it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// Makes an array; BUILD fills it later.
    Reconstruct,
    /// Makes an array from bytes.
    FromBuffer,
    Ndarray,
    Dtype,
    /// Converts text to bytes. Python 3 writes bytes like this in protocols 0 to 2, which have no bytes.
    Encode,
    /// Makes a bytearray of bytes, or of a text and its encoding.
    ByteArray,
}

/// Module, name and meaning. NumPy 2 has moved some modules.
const GLOBALS: [(&str, &str, Global); 9] = [
    ("numpy.core.multiarray", "_reconstruct", Global::Reconstruct),
    ("numpy._core.multiarray", "_reconstruct", Global::Reconstruct),
    ("numpy.core.numeric", "_frombuffer", Global::FromBuffer),
    ("numpy._core.numeric", "_frombuffer", Global::FromBuffer),
    ("numpy", "ndarray", Global::Ndarray),
    ("numpy", "dtype", Global::Dtype),
    ("_codecs", "encode", Global::Encode),
    ("builtins", "bytearray", Global::ByteArray),
    ("__builtin__", "bytearray", Global::ByteArray),
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
            Self::ByteArray => "bytearray",
        }
    }
}

impl Value {
    /// The value as Python prints it, shortened: for an error message.
    pub(super) fn shown(&self, pickle: &[u8]) -> String {
        self.shown_within(pickle, 2)
    }

    /// Shows nested tuples up to this depth. Each may contain the one before it many times, so full depth could be huge.
    fn shown_within(&self, pickle: &[u8], depth: usize) -> String {
        match self {
            Self::None => "None".into(),
            Self::Bool(true) => "True".into(),
            Self::Bool(false) => "False".into(),
            Self::Int(number) => number.to_string(),
            Self::Text(text) => shown(&pickle[text.place.clone()]),
            Self::Bytes(bytes) => format!("b{}", shown(&pickle[bytes.place.clone()])),
            Self::Global(global) => global.shown().into(),
            Self::Tuple(_) if depth == 0 => "(...)".into(),
            Self::Tuple(values) => tuple(values.iter().map(|value| value.shown_within(pickle, depth - 1))),
            Self::Uint8 => "dtype('uint8')".into(),
            Self::Empty => "an array without a shape".into(),
            Self::Array(array) => format!("an array of {}x{}", array.width, array.height),
            Self::Column(bytes) => format!("an array of {} bytes", bytes.length.unwrap_or(0)),
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

/// Text or bytes from a peer, quoted and shortened.
pub(super) fn shown(text: &[u8]) -> String {
    const MOST: usize = 40;
    match text.len() {
        ..=MOST => format!("'{}'", text.escape_ascii()),
        length => format!("'{}...' ({length} bytes)", text[..MOST].escape_ascii()),
    }
}
