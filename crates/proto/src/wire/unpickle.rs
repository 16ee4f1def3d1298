//! Pictures in Python's pickles: read, and never executed. See [`read`].

mod array;
mod bytes;
pub(super) mod op;
mod reader;
mod value;

use super::{Verdict, tutorial};
use crate::{Limits, jpeg};

pub use array::{Array, Jpeg, Pickled};
pub use reader::read;

/// The most bytes of a pickle besides the pixels. NumPy writes fewer than 200.
const AROUND: usize = 4 << 10;

/// Whether a pickle of a picture begins here. Those of protocols 0 and 1 have no magic: what they begin with is known all the
/// same, for they are arrays, bytes, a string of Python 2 with a JPEG, or `None`.
pub(super) fn begins(body: &[u8]) -> Verdict {
    const OLD: [&[u8]; 6] =
        [b"cnumpy", b"c_codecs\nencode\n", b"c__builtin__\nbytearray\n", b"S'\\xff\\xd8", b"S\"\\xff\\xd8", b"N."];
    match body {
        [] | [op::PROTO] => Verdict::More,
        [op::PROTO, 2..=5, ..] => Verdict::Yes,
        [op::BINSTRING, ..] => super::begins(body.get(5..).unwrap_or_default(), &jpeg::MAGIC),
        _ => super::any(OLD.map(|old| super::begins(body, old))),
    }
}

/// The most bytes of a pickle.
pub(super) fn longest(limits: &Limits) -> usize {
    tutorial::longest(limits.raw) + AROUND
}
