//! Hostile pickles: each would call, build or reserve something that no picture needs. Each is refused with its name and
//! position, at little cost.

use std::collections::HashSet;

use framewire_proto::{Limits, error::ErrorKind, wire::pickle};

use crate::pickle::{framed, receive};

const PROTO: &[u8] = b"\x80\x03";
/// Pushes an array without a shape on the stack.
const EMPTY: &[u8] = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R";
/// Puts the type of bytes there, as it is called and as it is filled.
const CALLED: &[u8] = b"cnumpy\ndtype\nX\x02\0\0\0u1\x89\x88\x87R";
const UINT8: &[u8] =
    b"cnumpy\ndtype\nX\x02\0\0\0u1\x89\x88\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb";
const SHAPE: &[u8] = b"K\x02K\x04K\x03\x87";
const PIXELS: &[u8] = b"C\x18abcdefghijklmnopqrstuvwx";
/// The start of a pickle of protocol 4 with frames.
const FROM_BUFFER: &[u8] = b"cnumpy._core.numeric\n_frombuffer\n(";

/// A pickle that is refused: the valid start, the wrong rest, and words of the error.
struct Case {
    before: Vec<u8>,
    wrong: Vec<u8>,
    words: String,
}

fn case(before: &[&[u8]], wrong: &[u8], words: &str) -> Case {
    Case { before: [PROTO, &before.concat()].concat(), wrong: wrong.into(), words: words.into() }
}

/// A picture's pickle with this state of its array.
fn filled(state: &[&[u8]], words: &str) -> Case {
    case(&[EMPTY, b"(", &state.concat(), b"t"], b"b.", words)
}

fn shaped(shape: &[u8], words: &str) -> Case {
    filled(&[b"K\x01", shape, UINT8, b"\x89", PIXELS], words)
}

/// A call of `numpy.dtype` with these arguments.
fn typed(arguments: &[u8], words: &str) -> Case {
    case(&[b"cnumpy\ndtype\n", arguments], b"R.", words)
}

/// The type uint8 with this state.
fn type_filled(state: &[u8], words: &str) -> Case {
    case(&[CALLED, state], b"b.", words)
}

#[test]
fn the_parts_of_these_tests_make_a_valid_picture() {
    let parts = [PROTO, EMPTY, b"(K\x01", SHAPE, UINT8, b"\x89", PIXELS, b"tb."].concat();
    let buffer = [PROTO, FROM_BUFFER, PIXELS, UINT8, SHAPE, b"X\x01\0\0\0CtR."].concat();
    for pickle in [parts, buffer] {
        let array = pickle::read(&pickle, &Limits { raw: 24, ..Limits::default() }).unwrap().unwrap();
        assert_eq!(array.picture(&pickle.into()).data, PIXELS[2..]);
    }
}

#[test]
fn each_hostile_pickle_is_refused_with_its_name_and_position_at_little_cost() {
    let all: [Vec<Case>; 8] = [imports(), opcodes(), lengths(), calls(), types(), states(), shapes(), structure()];
    let all: Vec<_> = all.into_iter().flatten().collect();
    let distinct: HashSet<_> = all.iter().map(|case| [&case.before[..], &case.wrong].concat()).collect();
    assert!(distinct.len() == all.len() && all.len() >= 100, "{} of {}", distinct.len(), all.len());
    for case in all {
        refused(&case);
    }
}

fn refused(case: &Case) {
    let pickle = [&case.before[..], &case.wrong].concat();
    let none = framed(b"\x80\x03N.");
    let connection = [&none[..], &framed(&pickle)].concat();
    let mut error = None;
    let cost = allocation_counter::measure(|| error = receive(&connection, 1_000, &Limits::default()).1);
    let shown = pickle[..pickle.len().min(200)].escape_ascii();
    let Some(error) = error else { panic!("taken: '{shown}'") };
    let words = error.to_string();
    assert!(words.contains(&case.words), "'{}' is not in: {words}", case.words);
    let ErrorKind::InvalidAt { at, .. } = error.kind else { panic!("{words}") };
    assert_eq!((error.offset, at), (none.len() as u64, case.before.len()), "{words}");
    assert!(words.contains(&format!("at byte {at} of the pickle (at byte 12 of the connection)")), "{words}");
    assert!(words.len() < 600, "{words}");
    // The received bytes, and a second copy while they move to their own memory.
    let most = 32_000 + 2 * pickle.len() as u64;
    assert!(cost.bytes_max < most, "{} bytes for '{shown}'", cost.bytes_max);
}

/// Globals that Python would import, most of them to call them.
fn imports() -> Vec<Case> {
    const NAMES: &[(&str, &str)] = &[
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("os", "popen"),
        ("subprocess", "Popen"),
        ("subprocess", "check_output"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "setattr"),
        ("builtins", "__import__"),
        ("builtins", "open"),
        ("builtins", "compile"),
        ("builtins", "memoryview"),
        ("__builtin__", "eval"),
        ("__main__", "Camera"),
        ("importlib", "import_module"),
        ("runpy", "run_path"),
        ("pickle", "loads"),
        ("_pickle", "loads"),
        ("marshal", "loads"),
        ("types", "FunctionType"),
        ("types", "CodeType"),
        ("operator", "attrgetter"),
        ("functools", "partial"),
        ("copyreg", "_reconstructor"),
        ("ctypes", "CDLL"),
        ("socket", "create_connection"),
        ("shutil", "rmtree"),
        ("webbrowser", "open"),
        ("pip", "main"),
        ("sys", "exit"),
        ("numpy", "load"),
        ("numpy", "memmap"),
        ("numpy", "fromfile"),
        ("numpy", "matrix"),
        ("numpy", "ndarray.__setstate__"),
        ("numpy", "dtype "),
        ("Numpy", "ndarray"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.core.multiarray", "_frombuffer"),
        ("numpy._core.numeric", "_reconstruct"),
        ("numpy.core.numeric.os", "system"),
        ("numpy.ma.core", "_mareconstruct"),
        ("numpy.core.records", "recarray"),
        ("_codecs", "decode"),
        ("_codecs", "lookup"),
        ("_codecs", "register"),
        ("", ""),
    ];
    let global = |(module, name): &(&str, &str)| format!("c{module}\n{name}\nX\x02\0\0\0id\u{1}").into_bytes();
    let words = |(module, name): &(&str, &str)| format!("the global '{name}' of '{module}' is no part");
    let mut cases: Vec<_> = NAMES.iter().map(|name| case(&[], &global(name), &words(name))).collect();
    for name in &NAMES[..8] {
        let text = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
        let before = [text(name.0), text(name.1)].concat();
        cases.push(case(&[&before], b"\x93\x8c\x02id\x85R.", &words(name)));
    }
    let long = vec![b'n'; 1 << 20];
    let million = [&b"X\0\0\x10\0"[..], &long].concat();
    cases.extend([
        case(&[], "cnumpу\ndtype\n.".as_bytes(), r"'dtype' of 'nump\xd1\x83'"),
        case(&[], b"c\xff\xfe\n\x1b[2J\n.", r"'\x1b[2J' of '\xff\xfe'"),
        case(&[], b"cnumpy\r\ndtype\r\n.", r"'dtype\r' of 'numpy\r'"),
        case(&[], &[b"c", &long[..], b"\ndtype\n."].concat(), "GLOBAL with a line over 64 bytes: 'nnnn"),
        case(&[], &[b"cnumpy\n", &long[..65], b"\n."].concat(), "GLOBAL with a line over 64 bytes: 'nnnn"),
        case(&[], b"cnumpy.", "GLOBAL with a line that does not end: 'numpy.'"),
        case(&[], b"cnumpy\ndtype", "GLOBAL with a line that does not end: 'dtype'"),
        case(
            &[&million, b"\x8c\x05dtype"],
            b"\x93.",
            "'dtype' of 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...' (1048576 bytes)",
        ),
        case(&[b"C\x05numpyC\x05dtype"], b"\x93.", "the global b'dtype' of b'numpy' is no part"),
        case(&[b"U\x05numpyU\x05dtype"], b"\x93.", "the global b'dtype' of b'numpy' is no part"),
        case(&[b"K\x01N"], b"\x93.", "the global None of 1 is no part"),
        case(&[b"\x8c\x05dtype"], b"\x93.", "STACK_GLOBAL needs a value and the stack is empty"),
    ]);
    cases
}

/// Opcodes that no picture needs, with their effect in Python.
fn opcodes() -> Vec<Case> {
    let alone: &[(&[u8], &str)] = &[
        (b"\x80\x03N.", "PROTO"),
        (b"F1.5\n.", "FLOAT"),
        (b"G\0\0\0\0\0\0\0\0.", "BINFLOAT"),
        (b"\x8a\x01\x01.", "LONG1"),
        (b"\x8b\xff\xff\xff\x7f\x01.", "LONG4"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.", "BINUNICODE8"),
        (b"Pfile:///etc/passwd\n.", "PERSID"),
        (b"].", "EMPTY_LIST"),
        (b").", "EMPTY_TUPLE"),
        (b"}.", "EMPTY_DICT"),
        (b"\x8f.", "EMPTY_SET"),
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\0.", "EXT2"),
        (b"\x84\x01\0\0\0.", "EXT4"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"\0.", "opcode 0x00"),
        (b"\n.", "opcode 0x0a"),
        (b"\x99.", "opcode 0x99"),
        (b"\xff.", "opcode 0xff"),
    ];
    let mut cases: Vec<_> = alone.iter().map(|(wrong, name)| case(&[], wrong, &format!("{name} is no part"))).collect();
    let behind: &[(&[u8], &[u8], &str)] = &[
        (b"(X\x02\0\0\0id", b"ios\nsystem\n.", "INST"),
        (b"(cnumpy\nndarray\nK\x01", b"o.", "OBJ"),
        (b"cnumpy\nndarray\nK\x01\x85", b"\x81.", "NEWOBJ"),
        (b"cnumpy\nndarray\nK\x01\x85N", b"\x92.", "NEWOBJ_EX"),
        (b"K\x01", b"Q.", "BINPERSID"),
        (b"NN", b"0.", "POP"),
        (b"(N", b"1.", "POP_MARK"),
        (b"N", b"2\x86.", "DUP"),
        (b"(N", b"l.", "LIST"),
        (b"(NN", b"d.", "DICT"),
        (b"(NN", b"e.", "APPENDS"),
        (b"(NN", b"u.", "SETITEMS"),
        (b"(NN", b"\x90.", "ADDITEMS"),
        (b"(NN", b"\x91.", "FROZENSET"),
        (b"NN", b"a.", "APPEND"),
        (b"NNN", b"s.", "SETITEM"),
        (b"C\x01b", b"\x98.", "READONLY_BUFFER"),
    ];
    cases.extend(behind.iter().map(|(before, wrong, name)| case(&[before], wrong, &format!("{name} is no part"))));
    cases
}

/// Lengths without the bytes they announce.
fn lengths() -> Vec<Case> {
    let all = [0xff; 8];
    let big = |opcode: u8| [&[opcode], &all[..], b"x."].concat();
    let left = "of 18446744073709551615 bytes where 2 are left";
    vec![
        case(&[], &big(0x8e), &format!("BINBYTES8 {left}")),
        case(&[], &big(0x96), &format!("BYTEARRAY8 {left}")),
        case(&[], &big(0x95), &format!("FRAME {left}")),
        case(&[], b"\x95\x03\0\0\0\0\0\0\0N.", "FRAME of 3 bytes where 2 are left"),
        case(&[b"\x95\x0c\0\0\0\0\0\0\0"], b"\x95\x04\0\0\0\0\0\0\0NN.", "FRAME of 4 bytes where 3 are left"),
        case(&[], b"B\xff\xff\xff\xffx.", "BINBYTES of 4294967295 bytes where 2 are left"),
        case(&[], b"Ix\n.", "the number 'x' is no part"),
        case(&[], b"I99999999999\n.", "the number '99999999999' is no part"),
        case(&[], b"L1LL\n.", "the number '1LL' is no part"),
        case(&[], &[b"I", &[b'1'; 70][..], b"\n."].concat(), "INT with a line over 64 bytes"),
        case(&[], b"S'u1\n.", "STRING without quotation marks: '\\'u1'"),
        case(&[], b"S'\n.", "STRING without quotation marks"),
        case(&[], b"S'\\q'\n.", "STRING with a backslash that escapes nothing"),
        case(&[], b"Vu1", "UNICODE with a line that does not end"),
        case(&[], b"gx\n.", "'x' is no place of the memo"),
        case(&[], b"g7\n.", "the memo has nothing at 7"),
        case(&[], b"p0\n.", "PUT needs a value and the stack is empty"),
        case(&[], b"X\xff\xff\xff\xffx.", "BINUNICODE of 4294967295 bytes where 2 are left"),
        case(&[], b"T\xff\xff\xff\xffx.", "BINSTRING of 4294967295 bytes where 2 are left"),
        case(&[], b"C\xffx.", "SHORT_BINBYTES of 255 bytes where 2 are left"),
        case(&[], b"\x8c\x03x.", "SHORT_BINUNICODE of 3 bytes where 2 are left"),
        case(&[], b"U\x03x.", "SHORT_BINSTRING of 3 bytes where 2 are left"),
        case(&[], b"\x8e\x01\0\0\0", "BINBYTES8 of 8 bytes where 4 are left"),
        case(&[], b"J\x01.", "BININT of 4 bytes where 2 are left"),
        case(&[], b"M.", "BININT2 of 2 bytes where 1 are left"),
        case(&[N], b"r\x01\0.", "LONG_BINPUT of 4 bytes where 3 are left"),
        case(&[], b"\x8c\x02\xc3(.", "text that is not UTF-8 from its byte 0 on"),
        case(&[], b"X\x04\0\0\0u1\xed\xa0.", "text that is not UTF-8 from its byte 2 on"),
    ]
}

const N: &[u8] = b"N";

/// The calls of a picture's pickle with other arguments.
fn calls() -> Vec<Case> {
    let reconstruct = |arguments: &[u8], words: &str| {
        case(
            &[b"cnumpy.core.multiarray\n_reconstruct\n", arguments],
            b"R.",
            &format!("a call of _reconstruct with {words}"),
        )
    };
    let encode = |arguments: &[u8], words: &str| {
        case(&[b"c_codecs\nencode\n", arguments], b"R.", &format!("a call of _codecs.encode with {words}"))
    };
    let buffer = |behind: &[&[u8]], words: &str| case(&[FROM_BUFFER, &behind.concat(), b"t"], b"R.", words);
    let axes = |axes: &[u8], words: &str| buffer(&[PIXELS, UINT8, SHAPE, b"X\x01\0\0\0K", axes], words);
    let (c, axis) = (b"X\x01\0\0\0C", b"K\x01K\0K\x02\x87");
    let bytes = |arguments: &[u8], words: &str| {
        case(&[b"cbuiltins\nbytearray\n", arguments], b"R.", &format!("a call of bytearray with {words}"))
    };
    vec![
        bytes(b"J\xff\xff\xff\x7f\x85", "(2147483647,)"),
        bytes(b"X\x01\0\0\0xX\x05\0\0\0utf-8\x86", "('x', 'utf-8')"),
        reconstruct(b"cnumpy\ndtype\nK\0\x85C\x01b\x87", "(numpy.dtype, (0,), b'b')"),
        reconstruct(b"cnumpy\nndarray\nK\x01\x85C\x01b\x87", "(numpy.ndarray, (1,), b'b')"),
        reconstruct(b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85C\x01b\x87", "(numpy.ndarray, (2147483647,), b'b')"),
        reconstruct(b"cnumpy\nndarray\nK\0K\0\x86C\x01b\x87", "(numpy.ndarray, (0, 0), b'b')"),
        reconstruct(b"cnumpy\nndarray\nK\0\x85C\x01O\x87", "(numpy.ndarray, (0,), b'O')"),
        reconstruct(b"cnumpy\nndarray\nK\0\x85\x86", "(numpy.ndarray, (0,))"),
        reconstruct(b"K\0", "0"),
        case(&[b"cnumpy\nndarray\n", SHAPE, b"\x85"], b"R.", "a call of numpy.ndarray with ((2, 4, 3),)"),
        case(&[b"NN"], b"R.", "a call of None with None"),
        case(&[b"K\x01\x85K\x01\x85"], b"R.", "a call of (1,) with (1,)"),
        case(&[b"X\x04\0\0\0evalX\x01\0\0\x001\x85"], b"R.", "a call of 'eval' with ('1',)"),
        case(&[EMPTY, N, b"\x85"], b"R.", "a call of an array without a shape with (None,)"),
        case(&[UINT8, N, b"\x85"], b"R.", "a call of dtype('uint8') with (None,)"),
        encode(b"X\x01\0\0\0bX\x05\0\0\0utf-8\x86", "('b', 'utf-8')"),
        encode(b"X\x01\0\0\0bX\x05\0\0\0rot13\x86", "('b', 'rot13')"),
        encode(b"X\x01\0\0\0bX\x04\0\0\0zlib\x86", "('b', 'zlib')"),
        encode(b"C\x01bX\x06\0\0\0latin1\x86", "(b'b', 'latin1')"),
        encode(b"X\x01\0\0\0bX\x06\0\0\0latin1X\x06\0\0\0ignore\x87", "('b', 'latin1', 'ignore')"),
        encode(b"X\x03\0\0\0\xe2\x82\xacX\x06\0\0\0latin1\x86", r"('\xe2\x82\xac', 'latin1')"),
        encode(b"X\x01\0\0\0b\x85", "('b',)"),
        buffer(&[PIXELS, UINT8, SHAPE, b"X\x01\0\0\0A"], "the order 'A' is no part"),
        buffer(&[PIXELS, UINT8, SHAPE, b"X\x01\0\0\0K"], "the order 'K' is no part"),
        buffer(&[PIXELS, UINT8, SHAPE, N], "the order None is no part"),
        buffer(&[PIXELS, UINT8, SHAPE, c, axis], "the order 'C' is no part"),
        buffer(&[PIXELS, UINT8, SHAPE, b"X\x01\0\0\0K", axis, axis], "the order 'K' is no part"),
        buffer(
            &[PIXELS, b"X\x02\0\0\0u1", SHAPE, c],
            "a call of _frombuffer with (b'abcdefghijklmnopqrstuvwx', 'u1', (2, 4, 3), 'C')",
        ),
        buffer(&[PIXELS, UINT8, SHAPE], "a call of _frombuffer with"),
        buffer(&[N, UINT8, SHAPE, c], "None for pixels"),
        buffer(&[PIXELS, UINT8, N, c], "the shape None is not height x width x 3"),
        axes(b"K\0K\0K\x02\x87", "the axes (0, 0, 2) are not those of a shape"),
        axes(b"K\0K\x01K\x03\x87", "the axes (0, 1, 3) are not those of a shape"),
        axes(b"J\xff\xff\xff\xffK\x01K\x02\x87", "the axes (-1, 1, 2) are not those of a shape"),
        axes(b"K\x01K\0\x86", "the axes (1, 0) are not those of a shape"),
        axes(N, "the axes None are not those of a shape"),
        axes(b"K\x02K\0K\x01\x87", "the shape (3, 2, 4) is not height x width x 3"),
    ]
}

/// Types other than uint8.
fn types() -> Vec<Case> {
    let named = |name: &str| {
        let text = [b"X", &(name.len() as u32).to_le_bytes()[..], name.as_bytes(), b"\x89\x88\x87"].concat();
        typed(&text, &format!("a call of numpy.dtype with ('{name}', False, True)"))
    };
    let names = ["O8", "O", "i1", "b1", "u2", ">u2", "f4", "f8", "c16", "S1", "V3", "u1,u1", "(3,)u1", "M8[us]", ""];
    let mut cases: Vec<_> = names.into_iter().map(named).collect();
    let state = |behind: &[u8]| [b"(K\x03", behind, b"t"].concat();
    cases.extend([
        typed(b"X\x02\0\0\0u1\x88\x88\x87", "('u1', True, True)"),
        typed(b"X\x02\0\0\0u1\x89\x89\x87", "('u1', False, False)"),
        typed(b"X\x02\0\0\0u1K\x02K\x01\x87", "('u1', 2, 1)"),
        typed(b"X\x02\0\0\0u1\x85", "('u1',)"),
        typed(b"cnumpy\nndarray\n\x89\x88\x87", "(numpy.ndarray, False, True)"),
        typed(b"X\x02\0\0\0u1K\x03\x86\x85", "(('u1', 3),)"),
        typed(b"X\x02\0\0\0u1X\x01\0\0\0rX\x02\0\0\0u1\x87\x85\x89\x88\x87", "(((...),), False, True)"),
        type_filled(
            &state(b"X\x01\0\0\0>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0"),
            "(3, '>', None, None, None, -1, -1, 0)",
        ),
        type_filled(&state(b"X\x01\0\0\0|NNNJ\x08\0\0\0J\xff\xff\xff\xffK\0"), "(3, '|', None, None, None, 8, -1, 0)"),
        type_filled(&state(b"X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3f"), "-1, -1, 63)"),
        type_filled(&state(b"X\x01\0\0\0|X\x02\0\0\0u1NNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0"), "(3, '|', 'u1', None"),
        type_filled(
            &state(b"X\x01\0\0\0|NX\x01\0\0\0rNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0"),
            "(3, '|', None, 'r', None",
        ),
        type_filled(&state(b"X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0N"), "-1, -1, 0, None)"),
        type_filled(
            b"(K\x04X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t",
            "dtype('uint8') filled with (4, '|'",
        ),
        type_filled(N, "dtype('uint8') filled with None"),
        type_filled(b"(t", "dtype('uint8') filled with ()"),
    ]);
    cases
}

/// States for BUILD to set.
fn states() -> Vec<Case> {
    vec![
        case(&[b"cnumpy\nndarray\nNX\x04\0\0\0evil\x86"], b"b.", "numpy.ndarray filled with (None, 'evil')"),
        case(&[b"cnumpy\ndtype\nK\x01\x85"], b"b.", "numpy.dtype filled with (1,)"),
        case(
            &[b"c_codecs\nencode\nX\x0c\0\0\0__setstate__\x85"],
            b"b.",
            "_codecs.encode filled with ('__setstate__',)",
        ),
        case(&[b"NN"], b"b.", "None filled with None"),
        case(&[b"K\x01\x85K\x01\x85"], b"b.", "(1,) filled with (1,)"),
        case(&[EMPTY, N], b"b.", "an array without a shape filled with None"),
        case(&[EMPTY, b"NN\x86"], b"b.", "an array without a shape filled with (None, None)"),
        filled(&[b"K\0", SHAPE, UINT8, b"\x89", PIXELS], "filled with (0, (2, 4, 3), dtype('uint8'), False, b'"),
        filled(&[b"K\x02", SHAPE, UINT8, b"\x89", PIXELS], "filled with (2, (2, 4, 3), dtype('uint8'), False, b'"),
        filled(&[SHAPE, UINT8, b"\x89", PIXELS], "filled with ((2, 4, 3), dtype('uint8'), False, b'"),
        filled(&[b"K\x01", SHAPE, UINT8, b"\x89", PIXELS, N], "None)"),
        filled(&[b"K\x01", SHAPE, N, b"\x89", PIXELS], "filled with (1, (2, 4, 3), None, False"),
        filled(&[b"K\x01", SHAPE, b"cnumpy\ndtype\n\x89", PIXELS], "filled with (1, (2, 4, 3), numpy.dtype, False"),
        filled(&[b"K\x01", SHAPE, UINT8, b"K\x02", PIXELS], "dtype('uint8'), 2, b'"),
        filled(&[b"K\x01", SHAPE, UINT8, N, PIXELS], "dtype('uint8'), None, b'"),
        filled(&[b"K\x01", SHAPE, UINT8, b"\x89N"], "None for pixels"),
        filled(&[b"K\x01", SHAPE, UINT8, b"\x89K\x18"], "24 for pixels"),
        filled(&[b"K\x01", SHAPE, UINT8, b"\x89(tq\x01"], "() for pixels"),
        filled(&[b"K\x01", SHAPE, UINT8, b"\x89X\x03\0\0\0abc"], "'abc' for pixels"),
        case(
            &[EMPTY, b"(K\x01", SHAPE, UINT8, b"\x89", PIXELS, b"tb(K\x01", SHAPE, UINT8, b"\x89", PIXELS, b"t"],
            b"b.",
            "an array of 4x2 filled with",
        ),
    ]
}

/// Shapes of no picture, and pixels that do not fit their shape.
fn shapes() -> Vec<Case> {
    let (long, most) = (b"J\0\0\x01\0", b"J\xff\xff\xff\x7f");
    let three = b"K\x03\x87";
    let latin1 = |text: &str| {
        let text = [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        [b"c_codecs\nencode\n", &text[..], b"X\x06\0\0\0latin1\x86R"].concat()
    };
    let of = |pixels: &[u8], words: &str| filled(&[b"K\x01", SHAPE, UINT8, b"\x89", pixels], words);
    let columns = |shape: &[u8], words: &str| filled(&[b"K\x01", shape, UINT8, b"\x88", PIXELS], words);
    vec![
        shaped(b"K\x19\x85", "24 bytes of pixels came for a shape of 25"),
        shaped(b"K\x06K\x04\x86", "the shape (6, 4) is not"),
        shaped(b"(K\x02K\x04K\x03K\x01t", "the shape (2, 4, 3, 1) is not"),
        shaped(b"(t", "the shape () is not"),
        shaped(b"K\x18", "the shape 24 is not"),
        shaped(N, "the shape None is not"),
        shaped(b"K\x02K\x04K\x01\x87", "the shape (2, 4, 1) is not"),
        shaped(b"K\x02K\x03K\x04\x87", "the shape (2, 3, 4) is not"),
        shaped(b"K\x03K\x02K\x04\x87", "the shape (3, 2, 4) is not"),
        shaped(b"\x88K\x08K\x03\x87", "the shape (True, 8, 3) is not"),
        shaped(b"X\x01\0\0\x002K\x04K\x03\x87", "the shape ('2', 4, 3) is not"),
        shaped(b"J\xfe\xff\xff\xffJ\xfc\xff\xff\xffK\x03\x87", "the shape (-2, -4, 3) is not"),
        shaped(b"J\xff\xff\xff\xffK\x04K\x03\x87", "the shape (-1, 4, 3) is not"),
        shaped(b"K\x02K\x04J\xfd\xff\xff\xff\x87", "the shape (2, 4, -3) is not"),
        shaped(b"J\0\0\0\x80J\0\0\0\x80K\x03\x87", "the shape (-2147483648, -2147483648, 3) is not"),
        shaped(b"K\0K\x04K\x03\x87", "a picture of 4x0 has no pixels"),
        shaped(b"K\x02K\0K\x03\x87", "a picture of 0x2 has no pixels"),
        shaped(b"M\x01\x20K\x01K\x03\x87", "a picture of 1x8193 is over the limit"),
        shaped(
            b"M\0\x20M\0\x20K\x03\x87",
            "a picture of 8192x8192 is over the limit of 8192 pixels a side and 40 million",
        ),
        shaped(&[&long[..], long, three].concat(), "a picture of 65536x65536 is over the limit"),
        shaped(&[&most[..], most, three].concat(), "a picture of 2147483647x2147483647 is over the limit"),
        columns(&[&most[..], most, three].concat(), "a picture of 2147483647x2147483647 is over the limit"),
        columns(b"K\x03K\x02K\x04\x87", "the shape (3, 2, 4) is not"),
        columns(b"K\x02K\x05K\x03\x87", "24 bytes of pixels came for a shape of 30"),
        of(b"C\x17abcdefghijklmnopqrstuvw", "23 bytes of pixels came for a shape of 24"),
        of(b"C\x19abcdefghijklmnopqrstuvwxy", "25 bytes of pixels came for a shape of 24"),
        of(b"C\0", "0 bytes of pixels came for a shape of 24"),
        of(&latin1("12345678901234567890123"), "23 bytes of pixels came for a shape of 24"),
        of(&latin1("äöüäöüäöüäöü"), "12 bytes of pixels came for a shape of 24"),
        shaped(b"M\xe0\x10M\0\x0fK\x03\x87", "24 bytes of pixels came for a shape of 49766400"),
    ]
}

/// Unbalanced stacks, marks and memos, and wrong ends.
fn structure() -> Vec<Case> {
    let begin = |pickle: &[u8], words: &str| Case { before: vec![], wrong: pickle.into(), words: words.into() };
    let limit = "a picture's pickle has at most 128 opcodes";
    // With PROTO this is one opcode too many.
    let many = |first: &[u8], opcodes: &[u8; 1]| {
        let before = [first, &opcodes.repeat(126 - first.len())].concat();
        case(&[&before], &[opcodes, &b"N."[..]].concat(), limit)
    };
    vec![
        begin(b"cos\nsystem\n(S'id'\ntR.", "the global 'system' of 'os' is no part"),
        begin(b"](K\x01K\x02e.", "EMPTY_LIST is no part"),
        begin(b"\x80", "PROTO is no part"),
        begin(b"\x80\x06N.", "protocol 6 is not one of 0 to 5"),
        begin(b"\x80\xffN.", "protocol 255 is not one of 0 to 5"),
        case(&[], b"", "the pickle ends without STOP"),
        case(&[N], b"", "the pickle ends without STOP"),
        case(&[N], b".\0", "1 bytes follow STOP"),
        case(&[N], b".cos\nsystem\n(S'id'\ntR.", "21 bytes follow STOP"),
        case(&[], b".", "STOP with 0 values on the stack instead of one"),
        case(&[b"NN"], b".", "STOP with 2 values on the stack instead of one"),
        case(&[EMPTY, b"(K\x01", SHAPE, UINT8, b"\x89", PIXELS, b"tbN"], b".", "STOP with 2 values"),
        case(&[b"(N"], b".", "STOP after a MARK that no TUPLE has taken"),
        case(&[b"N("], b".", "STOP after a MARK that no TUPLE has taken"),
        case(&[], b"t.", "TUPLE without a MARK"),
        case(&[b"(t"], b"t.", "TUPLE without a MARK"),
        case(&[b"N("], b"\x85.", "TUPLE1 needs a value and the stack is empty"),
        case(&[b"NN(N"], b"\x86.", "TUPLE2 needs a value and the stack is empty"),
        case(&[b"NN"], b"\x87.", "TUPLE3 needs a value and the stack is empty"),
        case(&[b"cnumpy\ndtype\n("], b"R.", "REDUCE needs a value and the stack is empty"),
        case(&[N], b"b.", "BUILD needs a value and the stack is empty"),
        case(&[], b"q\0.", "BINPUT needs a value and the stack is empty"),
        case(&[b"N("], b"\x94.", "MEMOIZE needs a value and the stack is empty"),
        case(&[], b"h\0.", "the memo has nothing at 0"),
        case(&[b"N\x94"], b"h\x01.", "the memo has nothing at 1"),
        case(&[b"Nr\xff\xff\xff\xffj\xff\xff\xff\xff"], b"j\xfe\xff\xff\xff.", "the memo has nothing at 4294967294"),
        case(&[b"K\x01"], b".", "1 is no picture"),
        case(&[b"\x88"], b".", "True is no picture"),
        case(&[b"X\x02\0\0\0id"], b".", "'id' is no picture"),
        case(&[PIXELS], b".", "the bytes 'abcdefghijklmnopqrstuvwx' are no JPEG"),
        case(&[b"(t"], b".", "() is no picture"),
        case(&[b"cnumpy\nndarray\n"], b".", "numpy.ndarray is no picture"),
        case(&[UINT8], b".", "dtype('uint8') is no picture"),
        case(&[EMPTY], b".", "an array without a shape is no picture"),
        case(&[EMPTY, b"\x85"], b".", "(an array without a shape,) is no picture"),
        case(&[&[b"N", &b"\x85".repeat(100)[..]].concat()], b".", "(((...),),) is no picture"),
        case(
            &[b"(", &N.repeat(100), b"t"],
            b".",
            "(None, None, None, None, None, None, None, None, None, ...) is no picture",
        ),
        case(&[N, &b"q\0h\0\x86".repeat(40)], b".", "(((...), (...)), ((...), (...))) is no picture"),
        case(&[N, &b"q\0h\0\x86".repeat(41), b"q\0h\0"], b"\x86.", limit),
        many(b"", b"N"),
        many(b"", b"("),
        many(b"N", b"\x85"),
        many(b"N", b"\x94"),
    ]
}
