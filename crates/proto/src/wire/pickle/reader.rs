//! Parses a pickle without executing it: a stack machine that knows only the values in a picture's pickle.
//!
//! A pickle is a program, and loading it in Python executes it: GLOBAL imports a name, REDUCE calls it. This reader calls
//! nothing. It knows the results of the few calls in NumPy's pickles of a uint8 array. It refuses every other call with an
//! error.

use std::{collections::BTreeMap, ops::Range};

use bytes::Buf;

use super::{
    Array,
    array::Pixels,
    op,
    value::{Global, Value, shown},
};
use crate::{error::ErrorKind, limits};

/// The most opcodes of one pickle: twice what NumPy writes. Each adds at most one value to the stack or the memo, so this also
/// bounds those, and the depth of tuples.
const MAX_OPCODES: usize = 128;
/// The most bytes of a module's or a global's name.
const LINE: usize = 64;
/// The supported pickle protocols.
const PROTOCOLS: std::ops::RangeInclusive<u8> = 2..=5;

/// Parses one pickle of an array of height x width x 3 bytes, `limit` bytes at most. Returns `None` if the pickle is Python's
/// `None`, which a camera sends if it got no picture. Reads and copies no pixels.
///
/// # Errors
/// What else the pickle contains, and at which byte.
pub fn read(pickle: &[u8], limit: usize) -> Result<Option<Array>, ErrorKind> {
    let mut reader = Reader { pickle, at: 0, next: 0, stack: vec![], marks: vec![], memo: BTreeMap::new(), limit };
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
    limit: usize,
}

impl<'a> Reader<'a> {
    fn begin(&mut self) -> Result<(), ErrorKind> {
        match self.pickle {
            [op::PROTO, protocol, ..] if PROTOCOLS.contains(protocol) => {
                self.next = 2;
                Ok(())
            }
            [op::PROTO, protocol, ..] => Err(self.refuse(format!("protocol {protocol} is not one of 2 to 5"))),
            _ => Err(self.refuse("it does not begin with PROTO: protocols 0 and 1 are not supported, 2 to 5 are")),
        }
    }

    fn end(&mut self) -> Result<Option<Array>, ErrorKind> {
        if self.next < self.pickle.len() {
            let bytes = self.pickle.len() - self.next;
            return Err(self.refuse(format!("{bytes} bytes follow STOP")));
        }
        match (self.stack.as_slice(), self.marks.as_slice()) {
            ([Value::None], []) => Ok(None),
            ([Value::Array(array)], []) => Ok(Some(array.clone())),
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
            op::SHORT_BINBYTES | op::SHORT_BINSTRING => Value::Bytes(self.counted(1)?),
            op::BINBYTES | op::BINSTRING => Value::Bytes(self.counted(4)?),
            op::BINBYTES8 | op::BYTEARRAY8 => Value::Bytes(self.counted(8)?),
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
            op::BINPUT => return self.put(1),
            op::LONG_BINPUT => return self.put(4),
            op::MEMOIZE => return self.memoize(),
            op::BINGET => self.recall(1)?,
            op::LONG_BINGET => self.recall(4)?,
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
            Ok(text) => Ok(Value::Text(place, latin1(text))),
            Err(error) => Err(self.refuse(format!("text that is not UTF-8 from its byte {} on", error.valid_up_to()))),
        }
    }

    /// FRAME only says how many of the following bytes belong together; the reader continues with them.
    fn frame(&mut self) -> Result<(), ErrorKind> {
        let frame = self.counted(8)?;
        self.next = frame.start;
        Ok(())
    }

    fn line(&mut self) -> Result<&'a [u8], ErrorKind> {
        let pickle = self.pickle;
        let rest = &pickle[self.next..];
        let Some(length) = rest.iter().take(LINE + 1).position(|byte| *byte == b'\n') else {
            let why = if rest.len() > LINE { "a line over 64 bytes" } else { "a line that does not end" };
            return Err(self.refuse(format!("GLOBAL with {why}: {}", shown(rest))));
        };
        self.next += length + 1;
        Ok(&rest[..length])
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

    fn put(&mut self, width: usize) -> Result<(), ErrorKind> {
        let place = self.number(width)? as u32;
        self.memo.insert(place, self.top()?.clone());
        Ok(())
    }

    fn memoize(&mut self) -> Result<(), ErrorKind> {
        self.memo.insert(self.memo.len() as u32, self.top()?.clone());
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<Value, ErrorKind> {
        let place = self.number(width)? as u32;
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
            (Value::Text(module, _), Value::Text(name, _)) => self.find(&pickle[module.clone()], &pickle[name.clone()]),
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
                (Global::Encode, [Value::Text(place, Some(length)), encoding]) if self.is(encoding, "latin1") => {
                    return Ok(Value::Latin1(place.clone(), *length));
                }
                (Global::FromBuffer, [pixels, Value::Uint8, shape, order, axes @ ..]) => {
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
                (Value::Empty, [Value::Int(1), shape, Value::Uint8, Value::Bool(columns), pixels]) => {
                    return match columns {
                        false => self.array(self.sides(shape)?, [0, 1, 2], pixels),
                        true => self.array_of_columns(shape, pixels),
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

    fn pixels(&self, pixels: &Value, due: usize) -> Result<Pixels, ErrorKind> {
        let (pixels, length) = match pixels {
            Value::Bytes(place) => (Pixels::Plain(place.clone()), place.len()),
            Value::Latin1(place, length) => (Pixels::Latin1(place.clone()), *length),
            other => return Err(self.no_part(&format!("{} for pixels", self.show(other)))),
        };
        if length != due {
            return Err(self.refuse(format!("{length} bytes of pixels came for a shape of {due}")));
        }
        if length > self.limit {
            return Err(ErrorKind::TooLong { what: "a picture", length: length as u64, limit: self.limit as u64 });
        }
        Ok(pixels)
    }

    // Values and errors as text.

    fn is(&self, value: &Value, word: &str) -> bool {
        matches!(value, Value::Text(place, _) | Value::Bytes(place) | Value::Latin1(place, _)
            if &self.pickle[place.clone()] == word.as_bytes())
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

/// The length of this text in Latin-1 (Unicode's first 256 characters); `None` if it has other characters.
fn latin1(text: &str) -> Option<usize> {
    text.chars().all(|character| character <= '\u{ff}').then(|| text.chars().count())
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
