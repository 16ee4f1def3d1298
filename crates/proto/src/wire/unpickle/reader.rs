//! Parses a pickle without executing it: a stack machine that knows only the values in a picture's pickle.
//!
//! A pickle is a program, and loading it in Python executes it: GLOBAL imports a name, REDUCE calls it. This reader calls
//! nothing. It knows the results of the few calls in NumPy's pickles of a uint8 array. It refuses every other call with an
//! error.

use std::{collections::BTreeMap, ops::Range};

use bytes::Buf;

use super::{
    Array, Pickled,
    array::Jpeg,
    bytes::{Coding, Stored},
    op,
    value::{Global, Value, shown},
};
use crate::{Limits, error::ErrorKind, jpeg, limits};

/// The most opcodes of one pickle: twice what NumPy writes. Each adds at most one value to the stack or the memo, so this also
/// bounds those, and the depth of tuples.
const MAX_OPCODES: usize = 128;
/// The most bytes of a module's or a global's name, or of a number's line.
const LINE: usize = 64;
/// The newest pickle protocol. PROTO was added in protocol 2; pickles of protocols 0 and 1 begin without it.
const NEWEST: u8 = 5;

/// Parses one pickle of an array of height x width x 3 bytes, or of a JPEG as bytes or as an array of one row or column. Returns
/// `None` if the pickle is Python's `None`, which a camera sends if it got no picture. Copies no pixels.
///
/// # Errors
/// What else the pickle contains, and at which byte.
pub fn read(pickle: &[u8], limits: &Limits) -> Result<Option<Pickled>, ErrorKind> {
    let mut reader = Reader { pickle, at: 0, next: 0, stack: vec![], marks: vec![], memo: BTreeMap::new(), limits };
    reader.begin()?;
    for _ in 1..MAX_OPCODES {
        reader.at = reader.next;
        let Some(&opcode) = pickle.get(reader.at) else {
            return Err(reader.refuse("the pickle ends without STOP"));
        };
        reader.next += 1;
        if opcode == op::STOP {
            return reader.end();
        }
        reader.step(opcode)?;
    }
    Err(reader.refuse(format!("a picture's pickle has at most {MAX_OPCODES} opcodes")))
}

struct Reader<'a> {
    pickle: &'a [u8],
    /// Position of the current opcode.
    at: usize,
    /// Position of the next byte to read.
    next: usize,
    stack: Vec<Value>,
    /// The height of the stack at each MARK. Values below the last MARK cannot be popped.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value>,
    limits: &'a Limits,
}

impl<'a> Reader<'a> {
    fn begin(&mut self) -> Result<(), ErrorKind> {
        match self.pickle {
            [op::PROTO, protocol, ..] if *protocol > NEWEST => {
                Err(self.refuse(format!("protocol {protocol} is not one of 0 to {NEWEST}")))
            }
            [op::PROTO, _, ..] => {
                self.next = 2;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<Option<Pickled>, ErrorKind> {
        if self.next < self.pickle.len() {
            let bytes = self.pickle.len() - self.next;
            return Err(self.refuse(format!("{bytes} bytes follow STOP")));
        }
        match (self.stack.as_slice(), self.marks.as_slice()) {
            ([Value::None], []) => Ok(None),
            ([Value::Array(array)], []) => Ok(Some(Pickled::Array(array.clone()))),
            ([Value::Column(bytes) | Value::Bytes(bytes)], []) => self.jpeg(bytes).map(Some),
            ([other], []) => Err(self.refuse(format!("{} is no picture", self.show(other)))),
            (values, []) => Err(self.refuse(format!("STOP with {} values on the stack instead of one", values.len()))),
            (_, _) => Err(self.refuse("STOP after a MARK that no TUPLE has taken")),
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), ErrorKind> {
        let value = match opcode {
            op::NONE => Value::None,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::BININT1 => Value::Int(self.number(1)? as i32),
            op::BININT2 => Value::Int(self.number(2)? as i32),
            op::BININT => Value::Int(self.number(4)? as u32 as i32),
            op::SHORT_BINUNICODE => self.text(1)?,
            op::BINUNICODE => self.text(4)?,
            op::SHORT_BINBYTES | op::SHORT_BINSTRING => self.bytes(1)?,
            op::BINBYTES | op::BINSTRING => self.bytes(4)?,
            op::BINBYTES8 | op::BYTEARRAY8 => self.bytes(8)?,
            op::INT | op::LONG => self.integer_line()?,
            op::STRING => self.string_line()?,
            op::UNICODE => Value::Text(self.stored(self.at + 1, Coding::RawUnicode, usize::MAX)?),
            op::GLOBAL => self.global()?,
            op::STACK_GLOBAL => self.stack_global()?,
            op::MARK => {
                self.marks.push(self.stack.len());
                return Ok(());
            }
            op::TUPLE => self.tuple_from_mark()?,
            op::TUPLE1 => self.tuple(1)?,
            op::TUPLE2 => self.tuple(2)?,
            op::TUPLE3 => self.tuple(3)?,
            op::PUT => {
                let place = self.index_line()?;
                return self.put(place);
            }
            op::BINPUT | op::LONG_BINPUT => {
                let place = self.number(if opcode == op::BINPUT { 1 } else { 4 })? as u32;
                return self.put(place);
            }
            op::MEMOIZE => return self.memoize(),
            op::GET => {
                let place = self.index_line()?;
                self.recall(place)?
            }
            op::BINGET | op::LONG_BINGET => {
                let place = self.number(if opcode == op::BINGET { 1 } else { 4 })? as u32;
                self.recall(place)?
            }
            op::FRAME => return self.frame(),
            op::REDUCE => self.reduce()?,
            op::BUILD => self.build()?,
            other => return Err(self.no_part(&op::name(other))),
        };
        self.stack.push(value);
        Ok(())
    }

    // The arguments of an opcode.

    fn take(&mut self, length: usize) -> Result<Range<usize>, ErrorKind> {
        let left = self.pickle.len() - self.next;
        if length > left {
            let opcode = op::name(self.pickle[self.at]);
            return Err(self.refuse(format!("{opcode} of {length} bytes where {left} are left")));
        }
        let place = self.next..self.next + length;
        self.next = place.end;
        Ok(place)
    }

    fn number(&mut self, width: usize) -> Result<u64, ErrorKind> {
        let place = self.take(width)?;
        Ok(self.pickle.get(place).unwrap_or_default().get_uint_le(width))
    }

    /// A number of `width` bytes, then as many bytes as it says.
    fn counted(&mut self, width: usize) -> Result<Range<usize>, ErrorKind> {
        let length = self.number(width)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn text(&mut self, width: usize) -> Result<Value, ErrorKind> {
        let place = self.counted(width)?;
        match std::str::from_utf8(&self.pickle[place.clone()]) {
            // Converted once here, because a pickle may use one text many times.
            Ok(_) => Ok(Value::Text(Stored::new(self.pickle, place, Coding::Utf8))),
            Err(error) => Err(self.refuse(format!("text that is not UTF-8 from its byte {} on", error.valid_up_to()))),
        }
    }

    fn bytes(&mut self, width: usize) -> Result<Value, ErrorKind> {
        let place = self.counted(width)?;
        Ok(Value::Bytes(Stored::new(self.pickle, place, Coding::Plain)))
    }

    /// The argument of a protocol 0 opcode, from `start` to the end of its line: `most` bytes at most.
    fn stored(&mut self, start: usize, coding: Coding, most: usize) -> Result<Stored, ErrorKind> {
        let rest = &self.pickle[start..];
        let Some(length) = rest.iter().take(most.saturating_add(1)).position(|byte| *byte == b'\n') else {
            let opcode = op::name(self.pickle[self.at]);
            let why = if rest.len() > most { "a line over 64 bytes" } else { "a line that does not end" };
            return Err(self.refuse(format!("{opcode} with {why}: {}", shown(rest))));
        };
        self.next = start + length + 1;
        Ok(Stored::new(self.pickle, start..start + length, coding))
    }

    /// A number's line. Protocols 0 and 1 write truth values like numbers, and Python 2 has an L behind some.
    fn integer_line(&mut self) -> Result<Value, ErrorKind> {
        let line = self.line()?;
        match line {
            b"00" => return Ok(Value::Bool(false)),
            b"01" => return Ok(Value::Bool(true)),
            _ => {}
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        let number = text.strip_suffix('L').unwrap_or(text).parse();
        number.map(Value::Int).map_err(|_| self.no_part(&format!("the number {}", shown(line))))
    }

    fn index_line(&mut self) -> Result<u32, ErrorKind> {
        let line = self.line()?;
        let number = std::str::from_utf8(line).unwrap_or_default().parse();
        number.map_err(|_| self.refuse(format!("{} is no place of the memo", shown(line))))
    }

    /// A string of Python 2, between quotation marks.
    fn string_line(&mut self) -> Result<Value, ErrorKind> {
        let mut stored = self.stored(self.at + 1, Coding::Quoted, usize::MAX)?;
        let Range { start, end } = stored.place;
        match &self.pickle[start..end] {
            [quote @ (b'\'' | b'"'), .., last] if quote == last => {}
            other => return Err(self.refuse(format!("STRING without quotation marks: {}", shown(other)))),
        }
        stored = Stored::new(self.pickle, start + 1..end - 1, Coding::Quoted);
        if stored.length.is_none() {
            return Err(self.refuse("STRING with a backslash that escapes nothing"));
        }
        Ok(Value::Bytes(stored))
    }

    /// FRAME only says how many of the following bytes belong together; the reader continues with them.
    fn frame(&mut self) -> Result<(), ErrorKind> {
        let frame = self.counted(8)?;
        self.next = frame.start;
        Ok(())
    }

    fn line(&mut self) -> Result<&'a [u8], ErrorKind> {
        let pickle = self.pickle;
        Ok(&pickle[self.stored(self.next, Coding::Plain, LINE)?.place])
    }

    // The stack and the memo.

    fn pop(&mut self) -> Result<Value, ErrorKind> {
        let value = self.top()?.clone();
        self.stack.pop();
        Ok(value)
    }

    fn top(&self) -> Result<&Value, ErrorKind> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..].last().ok_or_else(|| {
            let opcode = op::name(self.pickle[self.at]);
            self.refuse(format!("{opcode} needs a value and the stack is empty"))
        })
    }

    fn tuple_from_mark(&mut self) -> Result<Value, ErrorKind> {
        let Some(mark) = self.marks.pop() else { return Err(self.refuse("TUPLE without a MARK")) };
        Ok(Value::Tuple(self.stack.drain(mark..).collect()))
    }

    fn tuple(&mut self, length: usize) -> Result<Value, ErrorKind> {
        let mut values = Vec::with_capacity(length);
        for _ in 0..length {
            values.push(self.pop()?);
        }
        values.reverse();
        Ok(Value::Tuple(values.into()))
    }

    fn put(&mut self, place: u32) -> Result<(), ErrorKind> {
        self.memo.insert(place, self.top()?.clone());
        Ok(())
    }

    fn memoize(&mut self) -> Result<(), ErrorKind> {
        self.memo.insert(self.memo.len() as u32, self.top()?.clone());
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<Value, ErrorKind> {
        let value = self.memo.get(&place).cloned();
        value.ok_or_else(|| self.refuse(format!("the memo has nothing at {place}")))
    }

    // Opcodes by which Python would import, call and set a state.

    fn global(&mut self) -> Result<Value, ErrorKind> {
        let (module, name) = (self.line()?, self.line()?);
        self.find(module, name)
    }

    fn stack_global(&mut self) -> Result<Value, ErrorKind> {
        let (name, module) = (self.pop()?, self.pop()?);
        let pickle = self.pickle;
        match (&module, &name) {
            (Value::Text(module), Value::Text(name)) => {
                self.find(&pickle[module.place.clone()], &pickle[name.place.clone()])
            }
            _ => Err(self.no_part(&format!("the global {} of {}", self.show(&name), self.show(&module)))),
        }
    }

    fn find(&self, module: &[u8], name: &[u8]) -> Result<Value, ErrorKind> {
        let found = Global::find(module, name).map(Value::Global);
        found.ok_or_else(|| self.no_part(&format!("the global {} of {}", shown(name), shown(module))))
    }

    fn reduce(&mut self) -> Result<Value, ErrorKind> {
        let (arguments, called) = (self.pop()?, self.pop()?);
        if let (Value::Global(global), Value::Tuple(arguments)) = (&called, &arguments) {
            match (global, arguments.as_ref()) {
                (Global::Reconstruct, [Value::Global(Global::Ndarray), shape, kind])
                    if is_zero(shape) && self.is(kind, "b") =>
                {
                    return Ok(Value::Empty);
                }
                (Global::Dtype, [name, align, copy])
                    if self.is(name, "u1") && is_flag(align, false) && is_flag(copy, true) =>
                {
                    return Ok(Value::Uint8);
                }
                (Global::Encode, [Value::Text(text @ Stored { length: Some(_), .. }), encoding])
                    if self.is(encoding, "latin1") =>
                {
                    return Ok(Value::Bytes(text.clone()));
                }
                (Global::ByteArray, [Value::Text(text @ Stored { length: Some(_), .. }), encoding])
                    if self.is(encoding, "latin-1") =>
                {
                    return Ok(Value::Bytes(text.clone()));
                }
                (Global::ByteArray, [Value::Bytes(bytes)]) => return Ok(Value::Bytes(bytes.clone())),
                (Global::FromBuffer, [pixels, Value::Uint8, shape, order, axes @ ..]) => {
                    if let Some(column) = self.column(shape, pixels)? {
                        return Ok(column);
                    }
                    return match axes {
                        [] if self.is(order, "C") => self.array(self.sides(shape)?, [0, 1, 2], pixels),
                        [] if self.is(order, "F") => self.array_of_columns(shape, pixels),
                        [axes] if self.is(order, "K") => self.array(self.sides(shape)?, self.axes(axes)?, pixels),
                        _ => Err(self.no_part(&format!("the order {}", self.show(order)))),
                    };
                }
                _ => {}
            }
        }
        Err(self.no_part(&format!("a call of {} with {}", self.show(&called), self.show(&arguments))))
    }

    fn build(&mut self) -> Result<Value, ErrorKind> {
        let (state, object) = (self.pop()?, self.pop()?);
        if let Value::Tuple(state) = &state {
            match (&object, state.as_ref()) {
                (Value::Uint8, [Value::Int(3), order, rest @ ..]) if self.is(order, "|") && is_plain(rest) => {
                    return Ok(Value::Uint8);
                }
                (Value::Empty, [Value::Int(1), shape, Value::Uint8, columns, pixels])
                    if is_flag(columns, false) || is_flag(columns, true) =>
                {
                    return match self.column(shape, pixels)? {
                        Some(column) => Ok(column),
                        None if is_flag(columns, false) => self.array(self.sides(shape)?, [0, 1, 2], pixels),
                        None => self.array_of_columns(shape, pixels),
                    };
                }
                _ => {}
            }
        }
        Err(self.no_part(&format!("{} filled with {}", self.show(&object), self.show(&state))))
    }

    // The array.

    /// An array in Fortran order (the first index varies fastest). That is C order of the reversed shape.
    fn array_of_columns(&self, shape: &Value, pixels: &Value) -> Result<Value, ErrorKind> {
        let [height, width, colours] = self.sides(shape)?;
        self.array([colours, width, height], [2, 1, 0], pixels)
    }

    /// An array whose bytes are in C order of `sides`. `axes` says which of the sides are the rows, columns and colours.
    fn array(&self, sides: [i32; 3], axes: [usize; 3], pixels: &Value) -> Result<Value, ErrorKind> {
        let shape = axes.map(|axis| sides[axis]);
        let [Ok(height), Ok(width), Ok(3)] = shape.map(u32::try_from) else {
            let [height, width, colours] = shape;
            return Err(self.refuse(format!("the shape ({height}, {width}, {colours}) is not {SHAPE}")));
        };
        limits::check_size(width, height).map_err(|why| self.refuse(why))?;
        let [_, columns, colours] = sides.map(|side| side as usize);
        let strides = [columns * colours, colours, 1];
        let pixels = self.pixels(pixels, 3 * width as usize * height as usize)?;
        let strides = axes.map(|axis| strides[axis]);
        Ok(Value::Array(Array { width: width as u16, height: height as u16, pixels, strides }))
    }

    fn sides(&self, shape: &Value) -> Result<[i32; 3], ErrorKind> {
        integers(shape).ok_or_else(|| self.refuse(format!("the shape {} is not {SHAPE}", self.show(shape))))
    }

    fn axes(&self, axes: &Value) -> Result<[usize; 3], ErrorKind> {
        let order = integers(axes).filter(|order| (0..3).all(|axis| order.contains(&axis)));
        let order =
            order.ok_or_else(|| self.refuse(format!("the axes {} are not those of a shape", self.show(axes))))?;
        Ok(order.map(|axis| axis as usize))
    }

    fn pixels(&self, pixels: &Value, due: usize) -> Result<Stored, ErrorKind> {
        let stored = self.stored_bytes(pixels, due)?;
        check_limit(due, self.limits.raw)?;
        Ok(stored)
    }

    /// An array of one row or column, as OpenCV returns an encoded picture: its order does not matter. `None` for another shape.
    fn column(&self, shape: &Value, pixels: &Value) -> Result<Option<Value>, ErrorKind> {
        let Value::Tuple(sides) = shape else { return Ok(None) };
        let length = match sides.as_ref() {
            [Value::Int(length)] | [Value::Int(length), Value::Int(1)] | [Value::Int(1), Value::Int(length)] => *length,
            _ => return Ok(None),
        };
        self.stored_bytes(pixels, usize::try_from(length).unwrap_or(0)).map(|stored| Some(Value::Column(stored)))
    }

    /// The bytes of an array that is due to have so many.
    fn stored_bytes(&self, pixels: &Value, due: usize) -> Result<Stored, ErrorKind> {
        let Value::Bytes(stored @ Stored { length: Some(length), .. }) = pixels else {
            return Err(self.no_part(&format!("{} for pixels", self.show(pixels))));
        };
        if *length != due {
            return Err(self.refuse(format!("{length} bytes of pixels came for a shape of {due}")));
        }
        Ok(stored.clone())
    }

    fn jpeg(&self, bytes: &Stored) -> Result<Pickled, ErrorKind> {
        if !bytes.begins(self.pickle, &jpeg::MAGIC) {
            let shown = shown(&self.pickle[bytes.place.clone()]);
            return Err(
                self.refuse(format!("the bytes {shown} are no JPEG: encode pictures with cv2.imencode('.jpg', ...)"))
            );
        }
        check_limit(bytes.length.unwrap_or(0), self.limits.frame)?;
        Ok(Pickled::Jpeg(Jpeg(bytes.clone())))
    }

    // Values and errors as text.

    fn is(&self, value: &Value, word: &str) -> bool {
        matches!(value, Value::Text(text) | Value::Bytes(text) if &self.pickle[text.place.clone()] == word.as_bytes())
    }

    fn show(&self, value: &Value) -> String {
        value.shown(self.pickle)
    }

    fn no_part(&self, what: &str) -> ErrorKind {
        self.refuse(format!("{what} is no part of a uint8 picture"))
    }

    fn refuse(&self, why: impl Into<String>) -> ErrorKind {
        ErrorKind::InvalidAt { what: "the pickle", at: self.at, why: why.into() }
    }
}

fn check_limit(length: usize, limit: usize) -> Result<(), ErrorKind> {
    if length > limit {
        return Err(ErrorKind::TooLong { what: "a picture", length: length as u64, limit: limit as u64 });
    }
    Ok(())
}

/// The required shape of a picture.
const SHAPE: &str = "height x width x 3";

fn integers(value: &Value) -> Option<[i32; 3]> {
    match value {
        Value::Tuple(values) => match values.as_ref() {
            [Value::Int(first), Value::Int(second), Value::Int(third)] => Some([*first, *second, *third]),
            _ => None,
        },
        _ => None,
    }
}

/// Whether this is the shape of NumPy's array before BUILD fills it.
fn is_zero(shape: &Value) -> bool {
    matches!(shape, Value::Tuple(sides) if matches!(sides.as_ref(), [Value::Int(0)]))
}

/// Whether this is the given flag. NumPy before 1.14 wrote 0 and 1.
fn is_flag(value: &Value, flag: bool) -> bool {
    matches!(value, Value::Bool(found) if *found == flag)
        || matches!(value, Value::Int(found) if *found == i32::from(flag))
}

/// Whether the rest of a type's state is that of uint8: no subarray, no field names, no fields; default size, alignment and
/// flags.
fn is_plain(state: &[Value]) -> bool {
    matches!(state, [Value::None, Value::None, Value::None, Value::Int(-1), Value::Int(-1), Value::Int(0)])
}
