//! The opcodes of Python's pickles, with the names of Python's module `pickletools`.

pub(in crate::wire) const MARK: u8 = b'(';
pub(in crate::wire) const STOP: u8 = b'.';
pub(in crate::wire) const NONE: u8 = b'N';
pub(in crate::wire) const NEWTRUE: u8 = 0x88;
pub(in crate::wire) const NEWFALSE: u8 = 0x89;
pub(in crate::wire) const BININT: u8 = b'J';
pub(in crate::wire) const BININT1: u8 = b'K';
pub(in crate::wire) const BININT2: u8 = b'M';
pub(in crate::wire) const BINUNICODE: u8 = b'X';
pub(in crate::wire) const SHORT_BINUNICODE: u8 = 0x8c;
pub(in crate::wire) const BINSTRING: u8 = b'T';
pub(in crate::wire) const SHORT_BINSTRING: u8 = b'U';
pub(in crate::wire) const BINBYTES: u8 = b'B';
pub(in crate::wire) const SHORT_BINBYTES: u8 = b'C';
pub(in crate::wire) const BINBYTES8: u8 = 0x8e;
pub(in crate::wire) const BYTEARRAY8: u8 = 0x96;
pub(in crate::wire) const TUPLE: u8 = b't';
pub(in crate::wire) const TUPLE1: u8 = 0x85;
pub(in crate::wire) const TUPLE2: u8 = 0x86;
pub(in crate::wire) const TUPLE3: u8 = 0x87;
pub(in crate::wire) const BINPUT: u8 = b'q';
pub(in crate::wire) const LONG_BINPUT: u8 = b'r';
pub(in crate::wire) const MEMOIZE: u8 = 0x94;
pub(in crate::wire) const BINGET: u8 = b'h';
pub(in crate::wire) const LONG_BINGET: u8 = b'j';
pub(in crate::wire) const GLOBAL: u8 = b'c';
pub(in crate::wire) const STACK_GLOBAL: u8 = 0x93;
pub(in crate::wire) const REDUCE: u8 = b'R';
pub(in crate::wire) const BUILD: u8 = b'b';
pub(in crate::wire) const PROTO: u8 = 0x80;
pub(in crate::wire) const FRAME: u8 = 0x95;
// Of protocol 0, whose arguments are lines of text.
pub(in crate::wire) const INT: u8 = b'I';
pub(in crate::wire) const LONG: u8 = b'L';
pub(in crate::wire) const STRING: u8 = b'S';
pub(in crate::wire) const UNICODE: u8 = b'V';
pub(in crate::wire) const PUT: u8 = b'p';
pub(in crate::wire) const GET: u8 = b'g';

/// The name of an opcode, for errors.
pub(super) fn name(opcode: u8) -> String {
    match NAMES.iter().find(|(known, _)| *known == opcode) {
        Some((_, name)) => (*name).into(),
        None => format!("opcode 0x{opcode:02x}"),
    }
}

/// All opcodes of protocols 0 to 5. Unsupported ones are included, so that errors name them.
const NAMES: &[(u8, &str)] = &[
    (MARK, "MARK"),
    (STOP, "STOP"),
    (NONE, "NONE"),
    (NEWTRUE, "NEWTRUE"),
    (NEWFALSE, "NEWFALSE"),
    (BININT, "BININT"),
    (BININT1, "BININT1"),
    (BININT2, "BININT2"),
    (BINUNICODE, "BINUNICODE"),
    (SHORT_BINUNICODE, "SHORT_BINUNICODE"),
    (BINSTRING, "BINSTRING"),
    (SHORT_BINSTRING, "SHORT_BINSTRING"),
    (BINBYTES, "BINBYTES"),
    (SHORT_BINBYTES, "SHORT_BINBYTES"),
    (BINBYTES8, "BINBYTES8"),
    (BYTEARRAY8, "BYTEARRAY8"),
    (TUPLE, "TUPLE"),
    (TUPLE1, "TUPLE1"),
    (TUPLE2, "TUPLE2"),
    (TUPLE3, "TUPLE3"),
    (BINPUT, "BINPUT"),
    (LONG_BINPUT, "LONG_BINPUT"),
    (MEMOIZE, "MEMOIZE"),
    (BINGET, "BINGET"),
    (LONG_BINGET, "LONG_BINGET"),
    (GLOBAL, "GLOBAL"),
    (STACK_GLOBAL, "STACK_GLOBAL"),
    (REDUCE, "REDUCE"),
    (BUILD, "BUILD"),
    (PROTO, "PROTO"),
    (FRAME, "FRAME"),
    (INT, "INT"),
    (LONG, "LONG"),
    (STRING, "STRING"),
    (UNICODE, "UNICODE"),
    (PUT, "PUT"),
    (GET, "GET"),
    // The opcodes from here on are not supported.
    (b'0', "POP"),
    (b'1', "POP_MARK"),
    (b'2', "DUP"),
    (b'F', "FLOAT"),
    (b'G', "BINFLOAT"),
    (b'P', "PERSID"),
    (b'Q', "BINPERSID"),
    (b']', "EMPTY_LIST"),
    (b')', "EMPTY_TUPLE"),
    (b'}', "EMPTY_DICT"),
    (b'a', "APPEND"),
    (b'd', "DICT"),
    (b'e', "APPENDS"),
    (b'i', "INST"),
    (b'l', "LIST"),
    (b'o', "OBJ"),
    (b's', "SETITEM"),
    (b'u', "SETITEMS"),
    (0x81, "NEWOBJ"),
    (0x82, "EXT1"),
    (0x83, "EXT2"),
    (0x84, "EXT4"),
    (0x8a, "LONG1"),
    (0x8b, "LONG4"),
    (0x8d, "BINUNICODE8"),
    (0x8f, "EMPTY_SET"),
    (0x90, "ADDITEMS"),
    (0x91, "FROZENSET"),
    (0x92, "NEWOBJ_EX"),
    (0x97, "NEXT_BUFFER"),
    (0x98, "READONLY_BUFFER"),
];
