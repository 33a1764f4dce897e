//! The SDK for plugins in Rust: this file is all of it.
//!
//! A plugin is one file that has it as a module, implements `Plugin` and exports that:
//!
//! ```ignore
//! #[path = "dataflare.rs"]
//! mod dataflare;
//! use dataflare::{Error, Info, Json, Out, Plugin, Verdict};
//!
//! struct Upper;
//!
//! impl Plugin for Upper {
//!     const INFO: Info = Info { name: "upper", version: "1.0.0", ..Info::NEW };
//!     fn open(_: Json) -> Result<Self, Error> { Ok(Upper) }
//!     fn process(&mut self, record: Json, out: &mut Out) -> Result<Verdict, Error> {
//!         out.copy(record);
//!         Ok(Verdict::Keep)
//!     }
//! }
//!
//! dataflare::export!(Upper);
//! ```
//!
//! Build: rustc --edition 2021 --crate-type cdylib --target wasm32-unknown-unknown -C opt-level=3 -C panic=abort
//! -C target-feature=+simd128 -C strip=symbols -C linker=wasm-ld-19 plugin.rs -o plugin.wasm
//!
//! A plugin that implements `Columns`, too, and is exported by `export_columns!` takes rows as columns of Arrow.
//!
//! Behind it are the functions of dataflare.wit in the canonical ABI of the component model.
#![allow(dead_code)]

use std::borrow::Cow;
use std::fmt::Write;

/// What a plugin says of itself.
pub struct Info {
    pub name: &'static str,
    pub version: &'static str,
    /// JSON Schema of the settings.
    pub settings_schema: &'static str,
    /// The columns that it is given; none: all.
    pub input: Option<&'static [&'static str]>,
    /// The types in which the columns of `input` are wanted as buffers, in their order; "", or none: as they are.
    pub input_kinds: &'static [&'static str],
    pub outputs: &'static [Output],
    /// Whether it has state of its own: `export_state` and `import_state`.
    pub stateful: bool,
}

impl Info {
    pub const NEW: Info = Info {
        name: "",
        version: "",
        settings_schema: "{}",
        input: None,
        input_kinds: &[],
        outputs: &[],
        stateful: false,
    };
}

/// An output; the one without a name is the default one. No columns: those that came in. `adds`: they come beside
/// those. A column is its name and its type as in workflow files.
pub struct Output {
    pub name: &'static str,
    pub columns: Option<&'static [(&'static str, &'static str)]>,
    pub adds: bool,
}

/// What the author writes. Panics are logged and end the instance; another one takes its place.
pub trait Plugin: Sized {
    const INFO: Info;
    fn open(settings: Json) -> Result<Self, Error>;
    /// Is called with each row, unless columns are taken.
    fn process(&mut self, _record: Json, _out: &mut Out) -> Result<Verdict, Error> {
        Err(Error::Fatal(String::from("the plugin has no function `process`")))
    }
    fn close(self) {}
    /// JSON that is part of the checkpoint.
    fn export_state(&self) -> String {
        String::from("null")
    }
    fn import_state(&mut self, _state: Json) -> Result<(), Error> {
        Ok(())
    }
}

/// Keep: what was written since the last `emit` is a record of the default output. Drop: the row leaves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Keep,
    Drop,
}

/// A bad record is handled by `on_error`; after a transient failure the run tries again; a fatal one ends it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    Bad(String),
    Transient(String),
    Fatal(String),
}

/// `record.number("amount").ok_or("there is no amount")?` makes a bad record of it.
impl<T: Into<String>> From<T> for Error {
    fn from(words: T) -> Error {
        Error::Bad(words.into())
    }
}

// ---- reading -------------------------------------------------------------------------------------------------------

/// A value as it is written in JSON: a record, its fields, settings, state. Nothing is parsed before it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Json<'a>(pub &'a str);

impl<'a> Json<'a> {
    /// Returns the value of a field of an object; those of objects inside are theirs.
    pub fn get(self, name: &str) -> Option<Json<'a>> {
        self.fields().find(|(key, _)| key.is(name)).map(|(_, value)| value)
    }

    pub fn number(self, name: &str) -> Option<f64> {
        self.get(name)?.as_number()
    }

    pub fn integer(self, name: &str) -> Option<i64> {
        self.get(name)?.as_integer()
    }

    pub fn text(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.as_text()
    }

    pub fn boolean(self, name: &str) -> Option<bool> {
        self.get(name)?.as_boolean()
    }

    pub fn as_number(self) -> Option<f64> {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0).as_bytes();
        if !digits.first()?.is_ascii_digit() {
            return None; // Rust would take "inf" and "+1" as well
        }
        match short_number(digits) {
            Some(number) if digits.len() == self.0.len() => Some(number),
            Some(number) => Some(-number),
            None => self.0.parse().ok(),
        }
    }

    /// Returns a whole number of 64 bits, without loss.
    pub fn as_integer(self) -> Option<i64> {
        self.0.parse().ok().filter(|_| !self.0.starts_with('+'))
    }

    pub fn as_boolean(self) -> Option<bool> {
        self.0.parse().ok()
    }

    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Returns the text that a JSON string stands for.
    pub fn as_text(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(if inner.contains('\\') { Cow::Owned(unescaped(inner)) } else { Cow::Borrowed(inner) })
    }

    /// Returns the fields of an object: the names as JSON strings, and the values.
    pub fn fields(self) -> Fields<'a> {
        Fields { text: self.0, at: if self.0.starts_with('{') { 1 } else { self.0.len() } }
    }

    /// Returns the elements of a list.
    pub fn items(self) -> Items<'a> {
        Items { text: self.0, at: if self.0.starts_with('[') { 1 } else { self.0.len() } }
    }

    fn is(self, text: &str) -> bool {
        let inner = &self.0[1..self.0.len() - 1];
        inner == text || (inner.len() > text.len() && inner.contains('\\') && unescaped(inner) == text)
    }
}

pub struct Fields<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Json<'a>, Json<'a>);

    #[inline]
    fn next(&mut self) -> Option<(Json<'a>, Json<'a>)> {
        let bytes = self.text.as_bytes();
        let begin = past(bytes, self.at, b',');
        if *bytes.get(begin)? != b'"' {
            return None;
        }
        let end = string_end(bytes, begin + 1);
        let at = past(bytes, end, b':');
        self.at = value_end(bytes, at);
        Some((Json(self.text.get(begin..end)?), Json(self.text.get(at..self.at)?)))
    }
}

pub struct Items<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let bytes = self.text.as_bytes();
        let at = past(bytes, self.at, b',');
        self.at = value_end(bytes, at);
        Some(Json(self.text.get(at..self.at)?)).filter(|value| !value.0.is_empty())
    }
}

/// Reads a number of up to 15 digits and a point, or 16 digits: there is one rounding, by the division or by the
/// conversion, as whole numbers below 2^53 and powers of ten up to 10^22 are exact.
#[inline]
fn short_number(digits: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (mut number, mut point) = (0, digits.len());
    if digits.len() > 16 {
        return None;
    }
    for (at, digit) in digits.iter().enumerate() {
        match digit {
            b'0'..=b'9' => number = number * 10 + u64::from(digit - b'0'),
            b'.' if point == digits.len() => point = at,
            _ => return None,
        }
    }
    Some(number as f64 / POWERS[(digits.len() - point).saturating_sub(1)])
}

/// Returns the place behind white space and a punctuation mark.
#[inline]
fn past(bytes: &[u8], mut at: usize, mark: u8) -> usize {
    while at < bytes.len() && (bytes[at] <= b' ' || bytes[at] == mark) {
        at += 1;
    }
    at
}

/// Returns the place of the first byte from `at` on that is one of these; the length where there is none.
#[inline]
fn find<const N: usize>(bytes: &[u8], mut at: usize, these: [u8; N]) -> usize {
    #[cfg(target_feature = "simd128")]
    {
        use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, v128_load, v128_or};
        while at + 16 <= bytes.len() {
            // SAFETY: the 16 bytes from `at` on lie in the slice, and loading asks for no alignment.
            let found = unsafe { v128_load(bytes.as_ptr().add(at).cast()) };
            let same = these.map(|byte| u8x16_eq(found, u8x16_splat(byte)));
            let mask = u8x16_bitmask(same.into_iter().fold(u8x16_splat(0), |one, other| v128_or(one, other)));
            if mask != 0 {
                return at + mask.trailing_zeros() as usize;
            }
            at += 16;
        }
    }
    while at < bytes.len() && !these.contains(&bytes[at]) {
        at += 1;
    }
    at.min(bytes.len())
}

/// Returns the place behind the quote that ends a string, whose first letter is at `at`.
#[inline]
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = find(bytes, at, [b'"', b'\\']);
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(_) => return at + 1,
            None => return bytes.len(),
        }
    }
}

/// Returns the place behind a value.
#[inline]
fn value_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at + 1),
        Some(b'{' | b'[') => nested_end(bytes, at),
        _ => find(bytes, at, [b',', b'}', b']', b' ', b'\n', b'\t', b'\r']),
    }
}

fn nested_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at + 1) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Returns the text behind escapes; a half of a pair of surrogates alone becomes U+FFFD.
fn unescaped(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let kind = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        rest = rest.get(at + 2..).unwrap_or("");
        text.push(match kind {
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => unit(&mut rest),
            other => char::from(other),
        });
    }
    text.push_str(rest);
    text
}

fn hexadecimal(rest: &str) -> Option<u32> {
    u32::from_str_radix(rest.get(..4)?, 16).ok()
}

fn unit(rest: &mut &str) -> char {
    let Some(first) = hexadecimal(rest) else { return char::REPLACEMENT_CHARACTER };
    *rest = &rest[4..];
    let second = rest.strip_prefix("\\u").and_then(hexadecimal).filter(|low| low & 0xFC00 == 0xDC00);
    match second {
        Some(low) if first & 0xFC00 == 0xD800 => {
            *rest = &rest[6..];
            char::from_u32(0x10000 + ((first & 0x3FF) << 10) + (low & 0x3FF))
        }
        _ => char::from_u32(first),
    }
    .unwrap_or(char::REPLACEMENT_CHARACTER)
}

// ---- writing -------------------------------------------------------------------------------------------------------

/// What can be written as JSON.
pub trait Value {
    fn write(&self, text: &mut String);
}

impl Value for f64 {
    /// Writes the shortest number that is read as the same; what is no number is null.
    fn write(&self, text: &mut String) {
        let parts = (*self * 10_000.0).round_ties_even();
        if parts.abs() < 9e15 && parts / 10_000.0 == *self && parts != 0.0 {
            write_parts(parts as i64, text);
        } else if self.is_finite() {
            let _ = write!(text, "{self:?}");
        } else {
            text.push_str("null");
        }
    }
}

/// Writes parts of ten thousand: most numbers are some, and this is quicker than looking for the shortest.
fn write_parts(parts: i64, text: &mut String) {
    if parts < 0 {
        text.push('-');
    }
    write_digits(parts.unsigned_abs() / 10_000, text);
    text.push('.');
    let mut rest = (parts.unsigned_abs() % 10_000) as u32;
    loop {
        text.push(char::from(b'0' + (rest / 1000) as u8));
        rest = rest % 1000 * 10;
        if rest == 0 {
            break;
        }
    }
}

fn write_digits(mut number: u64, text: &mut String) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.push_str(core::str::from_utf8(&digits[at..]).unwrap_or("0"));
}

impl Value for i64 {
    fn write(&self, text: &mut String) {
        if *self < 0 {
            text.push('-');
        }
        write_digits(self.unsigned_abs(), text);
    }
}

impl Value for u64 {
    fn write(&self, text: &mut String) {
        write_digits(*self, text);
    }
}

impl Value for bool {
    fn write(&self, text: &mut String) {
        text.push_str(if *self { "true" } else { "false" });
    }
}

impl Value for str {
    /// Writes a JSON string.
    fn write(&self, text: &mut String) {
        text.push('"');
        let mut begin = 0;
        for (at, byte) in self.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            text.push_str(&self[begin..at]);
            begin = at + 1;
            match byte {
                b'\n' => text.push_str("\\n"),
                b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
                _ => drop(write!(text, "\\u{byte:04x}")),
            }
        }
        text.push_str(&self[begin..]);
        text.push('"');
    }
}

impl Value for String {
    fn write(&self, text: &mut String) {
        self.as_str().write(text);
    }
}

impl Value for Json<'_> {
    /// Writes it as it is.
    fn write(&self, text: &mut String) {
        text.push_str(self.0);
    }
}

impl<T: Value> Value for Option<T> {
    fn write(&self, text: &mut String) {
        match self {
            Some(value) => value.write(text),
            None => text.push_str("null"),
        }
    }
}

impl<T: Value + ?Sized> Value for &T {
    fn write(&self, text: &mut String) {
        (**self).write(text);
    }
}

/// Where records are written.
pub struct Out {
    info: &'static Info,
    parts: Vec<Part>,
    /// Which part each record went to.
    places: Vec<usize>,
    /// How long each part was before this row.
    before: Vec<(usize, usize)>,
    source: u32,
    /// Where the record that is being written begins, in the first part.
    begin: usize,
}

/// The records of an output, each with a line break, and the row that each came of. The first is the default output.
#[derive(Default)]
struct Part {
    text: String,
    sources: Vec<u32>,
}

impl Out {
    fn new(info: &'static Info) -> Out {
        let parts = (0..=info.outputs.len()).map(|_| Part::default()).collect();
        Out { info, parts, places: Vec::new(), before: Vec::new(), source: 0, begin: 0 }
    }

    /// Writes JSON as it is given.
    #[inline]
    pub fn raw(&mut self, json: &str) {
        self.parts[0].text.push_str(json);
    }

    /// Writes a value.
    #[inline]
    pub fn value(&mut self, value: impl Value) {
        value.write(&mut self.parts[0].text);
    }

    /// Writes a record as it came.
    #[inline]
    pub fn copy(&mut self, record: Json) {
        self.raw(record.0);
    }

    /// Begins an object that has all fields of a record; `field` adds more of them, `end` ends it.
    #[inline]
    pub fn extend(&mut self, record: Json) {
        self.raw(record.0.trim_end().strip_suffix('}').unwrap_or("{").trim_end());
    }

    /// Begins an object.
    #[inline]
    pub fn object(&mut self) {
        self.raw("{");
    }

    #[inline]
    pub fn field(&mut self, name: &str, value: impl Value) {
        let text = &mut self.parts[0].text;
        if !text.ends_with('{') {
            text.push(',');
        }
        name.write(text);
        text.push(':');
        value.write(text);
    }

    #[inline]
    pub fn end(&mut self) {
        self.raw("}");
    }

    /// Writes a record with another value in one of its fields, which is added where it is not there.
    #[inline]
    pub fn copy_with(&mut self, record: Json, name: &str, value: impl Value) {
        let Some(old) = record.get(name) else {
            self.extend(record);
            self.field(name, value);
            return self.end();
        };
        let at = old.0.as_ptr() as usize - record.0.as_ptr() as usize;
        self.raw(&record.0[..at]);
        self.value(value);
        self.raw(&record.0[at + old.0.len()..]);
    }

    /// Ends a record, which goes to an output of `INFO`; "" is the default one.
    pub fn emit(&mut self, output: &str) {
        if output.is_empty() {
            return self.emit_to(0);
        }
        match self.info.outputs.iter().position(|o| o.name == output) {
            Some(place) => self.emit_to(place + 1),
            None => panic!("the plugin has no output {output}"),
        }
    }

    #[inline]
    fn emit_to(&mut self, place: usize) {
        let (first, others) = self.parts.split_at_mut(1);
        first[0].text.push('\n');
        if place > 0 {
            others[place - 1].text.push_str(&first[0].text[self.begin..]);
            first[0].text.truncate(self.begin);
        }
        self.parts[place].sources.push(self.source);
        self.places.push(place);
        self.begin = self.parts[0].text.len();
    }

    fn clear(&mut self) {
        self.parts.iter_mut().for_each(|part| (part.text.clear(), part.sources.clear()).0);
        self.places.clear();
        self.begin = 0;
    }

    /// Has a plugin process a row, and leaves nothing of one that it does not keep.
    #[inline]
    fn written(&mut self, plugin: &mut impl Plugin, record: &str, source: u32) -> Result<(), Error> {
        self.source = source;
        self.begin = self.parts[0].text.len();
        self.before.clear();
        self.before.extend(self.parts.iter().map(|part| (part.text.len(), part.sources.len())));
        let count = self.places.len();
        let verdict = plugin.process(Json(record), self);
        if verdict == Ok(Verdict::Keep) {
            if self.parts[0].text.len() > self.begin {
                self.emit_to(0);
            }
            return Ok(());
        }
        for (part, (size, rows)) in self.parts.iter_mut().zip(&self.before) {
            part.text.truncate(*size);
            part.sources.truncate(*rows);
        }
        self.places.truncate(count);
        verdict.map(drop)
    }
}

// ---- columns -------------------------------------------------------------------------------------------------------

/// A plugin that takes rows as columns, those of `INFO.input` or all. `export_columns!` exports it.
pub trait Columns: Plugin {
    /// Is called after `open` with the names and types of the columns, which it may refuse.
    fn bind(&mut self, _columns: &[(String, String)]) -> Result<(), Error> {
        Ok(())
    }
    fn process_columns(&mut self, rows: usize, columns: &[Array], out: &mut Rows) -> Result<(), Error>;
}

/// A column as Arrow lays it out. https://arrow.apache.org/docs/format/Columnar.html
#[derive(Clone, Copy)]
pub struct Array<'a> {
    rows: usize,
    /// A bit for each row, 0 where it is null; empty where nothing is.
    pub validity: &'a [u8],
    /// Of texts and bytes: where each begins, and where the last one ends.
    pub offsets: &'a [i32],
    pub values: &'a [u8],
}

impl<'a> Array<'a> {
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        !self.validity.is_empty() && self.validity[row / 8] >> (row % 8) & 1 == 0
    }

    /// Returns numbers, what is written where rows are null among them. Panics where the column has others.
    pub fn numbers<T: Number>(&self) -> &'a [T] {
        assert_eq!(self.values.len(), self.rows * size_of::<T>(), "the column has other numbers");
        // SAFETY: a Number is any bytes of its size.
        let (before, numbers, _) = unsafe { self.values.align_to() };
        assert!(before.is_empty() && numbers.len() == self.rows, "the column is not aligned");
        numbers
    }

    /// Returns a boolean.
    pub fn boolean(&self, row: usize) -> bool {
        self.values[row / 8] >> (row % 8) & 1 == 1
    }

    /// Returns the bytes of a row, empty where it is null.
    #[inline]
    pub fn bytes(&self, row: usize) -> &'a [u8] {
        &self.values[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// Returns all texts; None where a column has others.
    pub fn texts(&self) -> Option<Texts<'a>> {
        let all = core::str::from_utf8(self.values).ok()?;
        (self.offsets.len() == self.rows + 1).then_some(Texts { all, offsets: self.offsets })
    }
}

/// The texts of a column, empty where rows are null.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    all: &'a str,
    offsets: &'a [i32],
}

impl<'a> Texts<'a> {
    #[inline]
    pub fn get(&self, row: usize) -> &'a str {
        &self.all[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

/// Numbers of which any bytes are one.
///
/// # Safety
/// There is no padding, and no bytes that are not a value.
pub unsafe trait Number: Copy + Default + 'static {}
macro_rules! numbers {
    ($($number:ty)*) => { $(unsafe impl Number for $number {})* };
}
numbers!(i8 i16 i32 i64 i128 u8 u16 u32 u64 f32 f64);

/// A column that is made: `vec![1.5, 2.5].into()`, the same of `Option`s, `Column::texts(...)`, or an `Array` again.
pub struct Column {
    validity: Vec<u8>,
    offsets: Vec<i32>,
    values: Vec<u8>,
    numbers: Option<(usize, usize, Box<dyn std::any::Any>)>,
}

impl<T: Number> From<Vec<T>> for Column {
    fn from(numbers: Vec<T>) -> Column {
        let place = (numbers.as_ptr() as usize, size_of_val(&numbers[..]));
        let numbers = Some((place.0, place.1, Box::new(numbers) as Box<dyn std::any::Any>));
        Column { validity: Vec::new(), offsets: Vec::new(), values: Vec::new(), numbers }
    }
}

impl<T: Number> From<Vec<Option<T>>> for Column {
    fn from(given: Vec<Option<T>>) -> Column {
        let numbers: Vec<T> = given.iter().map(|one| one.unwrap_or_default()).collect();
        Column { validity: bits(given.iter().map(Option::is_some)), ..numbers.into() }
    }
}

impl From<&Array<'_>> for Column {
    fn from(given: &Array) -> Column {
        let (validity, offsets) = (given.validity.to_vec(), given.offsets.to_vec());
        Column { validity, offsets, values: given.values.to_vec(), numbers: None }
    }
}

impl Column {
    pub fn texts<'a>(given: impl IntoIterator<Item = Option<&'a str>>) -> Column {
        let (mut offsets, mut values, mut there) = (vec![0], Vec::new(), Vec::new());
        for text in given {
            values.extend_from_slice(text.unwrap_or("").as_bytes());
            offsets.push(values.len() as i32);
            there.push(text.is_some());
        }
        let validity = if there.contains(&false) { bits(there.into_iter()) } else { Vec::new() };
        Column { validity, offsets, values, numbers: None }
    }

    pub fn booleans(given: &[bool]) -> Column {
        Column { validity: Vec::new(), offsets: Vec::new(), values: bits(given.iter().copied()), numbers: None }
    }
}

fn bits(given: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (row, bit) in given.enumerate() {
        if row % 8 == 0 {
            bytes.push(0);
        }
        bytes[row / 8] |= u8::from(bit) << (row % 8);
    }
    bytes
}

/// Where rows are given to outputs.
#[derive(Default)]
pub struct Rows {
    parts: Vec<(&'static str, usize, Vec<Column>, Option<Vec<u32>>)>,
    errors: Vec<(u32, usize, usize)>,
    words: String,
}

impl Rows {
    /// Gives rows to an output, "": the default one, with the numbers of the rows that they came of; none: those of the
    /// same numbers.
    pub fn give(&mut self, output: &'static str, rows: usize, columns: Vec<Column>, sources: Option<Vec<u32>>) {
        assert!(sources.as_ref().is_none_or(|s| s.len() == rows), "a row came of one row");
        self.parts.push((output, rows, columns, sources));
    }

    /// Says that a row is bad; `on_error` of the node decides about it.
    pub fn refuse(&mut self, row: usize, why: &str) {
        self.errors.push((row as u32, self.words.len(), why.len()));
        self.words.push_str(why);
    }
}

// ---- what the host offers ------------------------------------------------------------------------------------------

pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

mod host {
    #[link(wasm_import_module = "dataflare:plugin/host@1.0.0")]
    unsafe extern "C" {
        pub fn log(level: u32, data: *const u8, size: usize);
        pub fn metric(data: *const u8, size: usize, value: f64);
        pub safe fn now() -> u64;
        #[link_name = "get-state"]
        pub fn get_state(data: *const u8, size: usize, found: *mut [usize; 3]);
        #[link_name = "set-state"]
        pub fn set_state(data: *const u8, size: usize, some: u32, value: *const u8, value_size: usize);
    }
}

pub fn log(level: Level, message: &str) {
    // SAFETY: the host reads the text while it is called.
    unsafe { host::log(level as u32, message.as_ptr(), message.len()) }
}

/// Adds to a counter.
pub fn metric(name: &str, value: f64) {
    // SAFETY: the host reads the text while it is called.
    unsafe { host::metric(name.as_ptr(), name.len(), value) }
}

/// Returns the time of the epoch in microseconds since 1970: the same for all rows of an epoch.
pub fn now() -> u64 {
    host::now()
}

/// Returns the state of a key, a JSON list of the values of the node's key.
pub fn get_state(key: &str) -> Option<String> {
    let mut found = [0; 3];
    // SAFETY: the host writes three words there; the text it tells of is new memory out of cabi_realloc.
    unsafe {
        host::get_state(key.as_ptr(), key.len(), &mut found);
        (found[0] & 0xFF != 0).then(|| abi::taken(found[1] as *mut u8, found[2]))
    }
}

/// Keeps the state of a key; none: forgets it.
pub fn set_state(key: &str, value: Option<&str>) {
    let text = value.unwrap_or("");
    // SAFETY: the host reads the texts while it is called.
    unsafe { host::set_state(key.as_ptr(), key.len(), value.is_some().into(), text.as_ptr(), text.len()) }
}

// ---- what the host calls -------------------------------------------------------------------------------------------

/// Exports a plugin; call it once.
#[allow(unused_macros)]
macro_rules! export {
    ($plugin:ty) => { dataflare::export!($plugin, {}); };
    ($plugin:ty, { $($more:item)* }) => {
        mod dataflare_exports {
            $($more)*

            use super::{dataflare::abi, $plugin as Exported};

            static INSTANCE: abi::Instance<Exported> = abi::Instance::new();

            #[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#describe")]
            extern "C" fn describe() -> *const u32 {
                INSTANCE.describe()
            }

            #[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#open")]
            unsafe extern "C" fn open(data: *mut u8, size: usize) -> *const u32 {
                // SAFETY: the host gives a text that it has put into memory out of cabi_realloc; so below.
                INSTANCE.open(&unsafe { abi::taken(data, size) })
            }

            #[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#close")]
            extern "C" fn close() {
                INSTANCE.close();
            }

            #[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#export-state")]
            extern "C" fn export_state() -> *const u32 {
                INSTANCE.export_state()
            }

            #[unsafe(export_name = "dataflare:plugin/lifecycle@1.0.0#import-state")]
            unsafe extern "C" fn import_state(data: *mut u8, size: usize) -> *const u32 {
                INSTANCE.import_state(&unsafe { abi::taken(data, size) })
            }

            #[unsafe(export_name = "dataflare:plugin/processor@1.0.0#process")]
            unsafe extern "C" fn process(data: *mut u8, size: usize) -> *const u32 {
                INSTANCE.process(&unsafe { abi::taken(data, size) })
            }

            #[unsafe(export_name = "dataflare:plugin/processor@1.0.0#process-batch")]
            unsafe extern "C" fn process_batch(_format: u32, rows: u32, data: *mut u8, size: usize) -> *const u32 {
                INSTANCE.process_batch(rows, &unsafe { abi::taken(data, size) })
            }
        }
    };
}
#[allow(unused_imports)]
pub(crate) use export;

/// Exports a plugin that takes columns; call it once, in the place of `export!`.
#[allow(unused_macros)]
macro_rules! export_columns {
    ($plugin:ty) => {
        dataflare::export!($plugin, {
            #[unsafe(export_name = "dataflare:plugin/buffers@1.1.0#bind")]
            unsafe extern "C" fn bind(columns: *mut u32, count: usize) -> *const u32 {
                // SAFETY: the host gives a table of columns that lies in memory out of cabi_realloc; so below.
                INSTANCE.bind(unsafe { abi::taken_columns(columns, count) })
            }

            #[unsafe(export_name = "dataflare:plugin/buffers@1.1.0#process-buffers")]
            unsafe extern "C" fn process_buffers(rows: usize, columns: *mut u32, count: usize) -> *const u32 {
                INSTANCE.process_columns(&unsafe { abi::Given::new(rows, columns, count) })
            }
        });
    };
}
#[allow(unused_imports)]
pub(crate) use export_columns;

/// The canonical ABI: what `export!` calls.
pub mod abi {
    use super::{find, log, Array, Column, Columns, Error, Json, Level, Out, Plugin, Rows};
    use std::alloc::{alloc, dealloc, handle_alloc_error, realloc, Layout};
    use std::cell::UnsafeCell;
    use std::ptr;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, size: usize) -> *mut u8 {
        let Ok(layout) = Layout::from_size_align(size, align) else { panic!("no such memory: {size} bytes") };
        if size == 0 {
            return ptr::without_provenance_mut(align);
        }
        // SAFETY: `old` is memory that this function gave for `old_size` and `align`, where there is any.
        let new = unsafe {
            match old_size {
                0 => alloc(layout),
                _ => realloc(old, Layout::from_size_align_unchecked(old_size, align), size),
            }
        };
        if new.is_null() {
            handle_alloc_error(layout);
        }
        new
    }

    /// Takes over a text of the host.
    ///
    /// # Safety
    /// It was put by the host, which checks that it is UTF-8, into memory that `cabi_realloc` gave for that size, with
    /// alignment 1 as a `String` has it; nobody else has it.
    pub unsafe fn taken(data: *mut u8, size: usize) -> String {
        match size {
            0 => String::new(),
            _ => unsafe { String::from_raw_parts(data, size, size) },
        }
    }

    const WORD: usize = 4;
    const ALIGNED: usize = 16;

    /// Takes over names and types.
    ///
    /// # Safety
    /// The host has put the table, of four words for each column, and the texts into memory out of `cabi_realloc`.
    pub unsafe fn taken_columns(table: *mut u32, count: usize) -> Vec<(String, String)> {
        // SAFETY: as above; the table has the layout that it was asked for with.
        unsafe {
            let words = std::slice::from_raw_parts(table, if count == 0 { 0 } else { 4 * count });
            let text = |pair: &[u32]| taken(pair[0] as *mut u8, pair[1] as usize);
            let found = words.chunks_exact(4).map(|one| (text(&one[..2]), text(&one[2..]))).collect();
            given_back(table.cast(), 4 * WORD * count, WORD);
            found
        }
    }

    /// Gives memory back that `cabi_realloc` gave.
    unsafe fn given_back(at: *mut u8, size: usize, align: usize) {
        if size > 0 {
            unsafe { dealloc(at, Layout::from_size_align_unchecked(size, align)) }
        }
    }

    /// The buffers of a call, which are given back with it.
    pub struct Given {
        rows: usize,
        table: *mut u32,
        count: usize,
    }

    impl Given {
        /// # Safety
        /// The host has put the table, of six words for each column, and the buffers, aligned to 16 bytes, into memory
        /// out of `cabi_realloc`; nobody else has them.
        pub unsafe fn new(rows: usize, table: *mut u32, count: usize) -> Given {
            Given { rows, table, count }
        }

        fn words(&self) -> &[[u32; 6]] {
            // SAFETY: as `new` asks for.
            unsafe { std::slice::from_raw_parts(self.table.cast(), self.count) }
        }

        fn arrays(&self) -> Vec<Array<'_>> {
            let array = |one: &[u32; 6]| {
                let [validity, bits, offsets, count, values, size] = one.map(|word| word as usize);
                // SAFETY: as `new` asks for; what has no size lies at an aligned place that is not null.
                unsafe {
                    Array {
                        rows: self.rows,
                        validity: std::slice::from_raw_parts(validity as *const u8, bits),
                        offsets: std::slice::from_raw_parts(offsets as *const i32, count),
                        values: std::slice::from_raw_parts(values as *const u8, size),
                    }
                }
            };
            self.words().iter().map(array).collect()
        }
    }

    impl Drop for Given {
        fn drop(&mut self) {
            // SAFETY: as `new` asks for.
            unsafe {
                for &[validity, bits, offsets, count, values, size] in self.words() {
                    given_back(validity as *mut u8, bits as usize, ALIGNED);
                    given_back(offsets as *mut u8, count as usize * WORD, ALIGNED);
                    given_back(values as *mut u8, size as usize, ALIGNED);
                }
                given_back(self.table.cast(), self.count * 6 * WORD, WORD);
            }
        }
    }

    fn array_words(column: &Column) -> [u32; 6] {
        let values = match &column.numbers {
            Some((at, size, _)) => [*at as u32, *size as u32],
            None => [column.values.as_ptr() as u32, column.values.len() as u32],
        };
        let [validity, bits] = [column.validity.as_ptr() as u32, column.validity.len() as u32];
        [validity, bits, column.offsets.as_ptr() as u32, column.offsets.len() as u32, values[0], values[1]]
    }

    impl<P: Columns> Instance<P> {
        pub fn bind(&self, mut columns: Vec<(String, String)>) -> *const u32 {
            let state = self.state();
            for (name, kind) in &mut columns {
                let place = P::INFO.input.unwrap_or(&[]).iter().position(|one| one == name);
                match place.and_then(|place| P::INFO.input_kinds.get(place)) {
                    Some(wanted) if !wanted.is_empty() => *kind = String::from(*wanted),
                    _ => {}
                }
            }
            if let Err(error) = state.plugin().bind(&columns) {
                return state.answer(Err(fatal(error)));
            }
            state.bound = columns;
            state.list.clear();
            state.list.extend(state.bound.iter().flat_map(|(n, kind)| [pair(n), pair(kind)]).flatten());
            let [at, count] = list(&state.list, 4);
            state.told[..3].copy_from_slice(&[0, at, count]);
            state.told.as_ptr()
        }

        pub fn process_columns(&self, given: &Given) -> *const u32 {
            let state = self.state();
            state.rows = Rows::default();
            let State { plugin: Some(plugin), rows, .. } = &mut *state else { panic!("the plugin is not open") };
            if let Err(error) = plugin.process_columns(given.rows, &given.arrays(), rows) {
                return state.answer(Err(fatal(error)));
            }
            state.columns.clear();
            state.list.clear();
            for (output, count, columns, sources) in &state.rows.parts {
                let words: Vec<u32> = columns.iter().flat_map(array_words).collect();
                let ([name, size], [at, columns]) = (pair(output), list(&words, 6));
                let [from, of] = list(sources.as_deref().unwrap_or(&[]), 1);
                state.list.extend([name, size, *count as u32, at, columns, sources.is_some().into(), from, of]);
                state.columns.push(words);
            }
            let begin = state.rows.words.as_ptr() as u32;
            let bad = state.rows.errors.iter().flat_map(|&(row, at, size)| [row, begin + at as u32, size as u32]);
            state.columns.push(bad.collect());
            let ([parts, part_count], [errors, error_count]) =
                (list(&state.list, 8), list(&state.columns[state.columns.len() - 1], 3));
            state.told[..5].copy_from_slice(&[0, parts, part_count, errors, error_count]);
            state.told.as_ptr()
        }
    }

    /// The one instance of a plugin in this module, and what its last call returned.
    pub struct Instance<P>(UnsafeCell<Option<State<P>>>);

    struct State<P> {
        plugin: Option<P>,
        out: Out,
        words: String,
        errors: Vec<(u32, usize, usize)>,
        list: Vec<u32>,
        columns: Vec<Vec<u32>>,
        bound: Vec<(String, String)>,
        rows: Rows,
        told: [u32; 13],
    }

    // SAFETY: a module of WebAssembly without shared memory has one thread.
    unsafe impl<P> Sync for Instance<P> {}

    fn pair(text: &str) -> [u32; 2] {
        [text.as_ptr() as u32, text.len() as u32]
    }

    fn list(words: &[u32], size: usize) -> [u32; 2] {
        [words.as_ptr() as u32, (words.len() / size) as u32]
    }

    impl<P: Plugin> Instance<P> {
        pub const fn new() -> Self {
            Instance(UnsafeCell::new(None))
        }

        #[allow(clippy::mut_from_ref)]
        fn state(&self) -> &mut State<P> {
            // SAFETY: the host makes one call at a time, and what it calls in the middle of one, cabi_realloc, does not
            // come here; each call takes this once.
            unsafe { &mut *self.0.get() }.get_or_insert_with(|| State {
                plugin: None,
                out: Out::new(&P::INFO),
                words: String::new(),
                errors: Vec::new(),
                list: Vec::new(),
                columns: Vec::new(),
                bound: Vec::new(),
                rows: Rows::default(),
                told: [0; 13],
            })
        }

        pub fn describe(&self) -> *const u32 {
            let (state, info) = (self.state(), &P::INFO);
            state.list.clear();
            let outputs = info.outputs.iter().map(|output| {
                let columns = output.columns.unwrap_or(&[]);
                let told: Vec<u32> = columns.iter().flat_map(|(n, kind)| [pair(n), pair(kind)]).flatten().collect();
                let [at, count] = list(&told, 4);
                state.columns.push(told);
                let [name, size] = pair(output.name);
                [name, size, output.columns.is_some().into(), at, count, output.adds.into()]
            });
            state.list.extend(outputs.flatten());
            let input: Vec<u32> = info.input.unwrap_or(&[]).iter().flat_map(|name| pair(name)).collect();
            let (texts, lists) =
                ([info.name, info.version, info.settings_schema], [list(&input, 2), list(&state.list, 6)]);
            state.columns.push(input);
            let words =
                texts.iter().flat_map(|text| pair(text)).chain([info.stateful.into(), info.input.is_some().into()]);
            let lines = 0;
            let words = words.chain(lists[0]).chain([lines]).chain(lists[1]);
            state.told.iter_mut().zip(words).for_each(|(told, word)| *told = word);
            state.told.as_ptr()
        }

        pub fn open(&self, settings: &str) -> *const u32 {
            std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
            let state = self.state();
            let result = P::open(Json(settings)).map(|plugin| drop(state.plugin.replace(plugin)));
            state.answer(result.map_err(fatal))
        }

        pub fn close(&self) {
            if let Some(plugin) = self.state().plugin.take() {
                plugin.close();
            }
        }

        pub fn export_state(&self) -> *const u32 {
            let state = self.state();
            state.words = state.plugin().export_state();
            state.told[..2].copy_from_slice(&pair(&state.words));
            state.told.as_ptr()
        }

        pub fn import_state(&self, saved: &str) -> *const u32 {
            let state = self.state();
            let result = state.plugin().import_state(Json(saved));
            state.answer(result.map_err(fatal))
        }

        pub fn process(&self, record: &str) -> *const u32 {
            const KEEP: u32 = 0;
            const DROP: u32 = 1;
            const ROUTE: u32 = 3;
            let state = self.state();
            state.out.clear();
            let State { plugin: Some(plugin), out, .. } = state else { panic!("the plugin is not open") };
            if let Err(error) = out.written(plugin, record, 0) {
                return state.answer(Err(error));
            }
            state.list.clear();
            let mut begins = vec![0; out.parts.len()];
            for &place in &out.places {
                let (text, begin) = (&out.parts[place].text, begins[place]);
                let end = find(text.as_bytes(), begin, [b'\n']);
                begins[place] = end + 1;
                state.list.extend(pair(out.name(place)).iter().chain(&pair(&text[begin..end])));
            }
            let result = match out.places[..] {
                [] => [0, DROP, 0, 0],
                [0] => [0, KEEP, state.list[2], state.list[3]],
                _ => [0, ROUTE, state.list.as_ptr() as u32, out.places.len() as u32],
            };
            state.told[..4].copy_from_slice(&result);
            state.told.as_ptr()
        }

        pub fn process_batch(&self, rows: u32, data: &str) -> *const u32 {
            let state = self.state();
            state.out.clear();
            state.errors.clear();
            state.words.clear();
            let State { plugin: Some(plugin), out, words: told, errors, .. } = &mut *state else {
                panic!("the plugin is not open")
            };
            let (bytes, mut at) = (data.as_bytes(), 0);
            for row in 0..rows {
                let end = find(bytes, at, [b'\n']);
                match out.written(plugin, data.get(at..end).unwrap_or(""), row) {
                    Ok(()) => {}
                    Err(Error::Bad(words)) => {
                        errors.push((row, told.len(), words.len()));
                        told.push_str(&words);
                    }
                    Err(error) => return state.answer(Err(error)),
                }
                at = end + 1;
            }
            state.tell_batch(rows)
        }
    }

    fn fatal(error: Error) -> Error {
        match error {
            Error::Bad(words) => Error::Fatal(words),
            other => other,
        }
    }

    impl Out {
        fn name(&self, place: usize) -> &'static str {
            if place == 0 {
                ""
            } else {
                self.info.outputs[place - 1].name
            }
        }
    }

    impl<P: Plugin> State<P> {
        fn plugin(&mut self) -> &mut P {
            self.plugin.as_mut().expect("the plugin is not open")
        }

        fn answer(&mut self, result: Result<(), Error>) -> *const u32 {
            let (kind, words) = match result {
                Ok(()) => {
                    self.told[0] = 0;
                    return self.told.as_ptr();
                }
                Err(Error::Bad(words)) => (0, words),
                Err(Error::Transient(words)) => (1, words),
                Err(Error::Fatal(words)) => (2, words),
            };
            self.words = words;
            let [at, size] = pair(&self.words);
            self.told[..4].copy_from_slice(&[1, kind, at, size]);
            self.told.as_ptr()
        }

        fn tell_batch(&mut self, rows: u32) -> *const u32 {
            let sources = &self.out.parts[0].sources;
            let same = self.out.places.len() == rows as usize && sources.iter().copied().eq(0..rows);
            let count = if same { 1 } else { self.out.parts.len() };
            self.list.clear();
            for (place, part) in self.out.parts.iter().enumerate().take(count) {
                if place > 0 && self.out.name(place).is_empty() {
                    continue; // records of the default output are in the first part
                }
                let ([name, name_size], [at, size]) = (pair(self.out.name(place)), pair(&part.text));
                let [sources, rows] = list(&part.sources, 1);
                self.list.extend([name, name_size, rows, at, size.saturating_sub(1), (!same).into(), sources, rows]);
            }
            let begin = self.words.as_ptr() as u32;
            let bad = self.errors.iter().flat_map(|&(row, at, size)| [row, begin + at as u32, size as u32]);
            let errors_at = self.list.len();
            self.list.extend(bad);
            let (parts, errors) = self.list.split_at(errors_at);
            let ([parts, part_count], [errors, error_count]) = (list(parts, 8), list(errors, 3));
            self.told[..5].copy_from_slice(&[0, parts, part_count, errors, error_count]);
            self.told.as_ptr()
        }
    }
}
