/**
 * The SDK for plugins in AssemblyScript: this file, and dataflare-exports.mjs, which names what it exports.
 *
 *     import { Info, Json, Out, Plugin, Verdict, register } from "./dataflare";
 *
 *     class Upper extends Plugin {
 *       constructor() {
 *         super(new Info("upper", "1.0.0"));
 *       }
 *
 *       process(record: Json, out: Out): Verdict {
 *         out.copy(record);
 *         return Verdict.Keep;
 *       }
 *     }
 *
 *     register(new Upper());
 *
 * Build: asc src/plugin.ts src/dataflare.ts -O3 --enable simd --transform dataflare-exports.mjs
 * --use abort=src/dataflare/dataflare_abort --disableWarning 235 -o plugin.wasm
 *
 * Behind it are the functions of dataflare.wit in the canonical ABI of the component model.
 */

// Memory that is used again by each call: what the last one returned points to it.
const scratch = new Bytes(), words = new Bytes(), errors = new Bytes(), lists = new Bytes(), said = new Bytes();
const names = new Bytes(), told = memory.data(52, 4);

/** A column with its type as in workflow files. */
export class Column {
  constructor(public name: string, public kind: string) {}
}

/** An output; the one without a name is the default one. No columns: those that came in. `adds`: they come beside those. */
export class Output {
  constructor(public name: string, public columns: Column[] | null = null, public adds: bool = false) {}
}

/** What a plugin says of itself. */
export class Info {
  /** JSON Schema of the settings. */
  settingsSchema: string = "{}";
  /** The columns that it is given; null: all. */
  input: string[] | null = null;
  outputs: Output[] = [];
  /** Whether it has state of its own: exportState and importState. */
  stateful: bool = false;

  constructor(public name: string, public version: string) {}
}

/** Keep: what was written since the last emit is a record of the default output. Drop: the row leaves nothing.
    The others are what out.bad, out.transient and out.fatal return. */
export enum Verdict {
  Keep,
  Drop,
  Bad,
  Transient,
  Fatal,
}

/** What the author extends. What aborts is logged and ends the instance; another one takes its place. */
export abstract class Plugin {
  constructor(public info: Info) {}

  /** Returns why it refuses the settings, or null. */
  open(settings: Json): string | null {
    return null;
  }

  abstract process(record: Json, out: Out): Verdict;

  close(): void {}

  /** Returns JSON that is part of the checkpoint. */
  exportState(): string {
    return "null";
  }

  /** Returns why it refuses the state, or null. */
  importState(state: Json): string | null {
    return null;
  }
}

let plugin: Plugin | null = null;

/** Has the host call a plugin. */
export function register(given: Plugin): void {
  plugin = given;
  out = new Out(given.info.outputs);
}

// ---- reading -------------------------------------------------------------------------------------------------------

/** A value as it is written in JSON, in memory that stays for this row. Nothing is parsed before it is asked for. */
@final
export class Json {
  constructor(public at: usize, public size: usize) {}

  /** Returns the value of a field of an object, or null; those of objects inside are theirs. */
  get(name: string): Json | null {
    const end = this.at + this.size;
    let at = this.at + 1;
    if (!this.size || load<u8>(this.at) != 0x7b) return null;
    while (true) {
      const begin = past(at, end, 0x2c);
      if (begin >= end || load<u8>(begin) != 0x22) return null;
      const behind = stringEnd(begin + 1, end);
      at = past(behind, end, 0x3a);
      const found = at;
      at = valueEnd(at, end);
      if (isName(begin + 1, behind - begin - 2, name)) return new Json(found, at - found);
    }
  }

  /** Returns a field that is a number; NaN where there is none. */
  number(name: string): f64 {
    const value = this.get(name);
    return value ? value.asNumber() : NaN;
  }

  /** Returns a field that is a text, or null. */
  text(name: string): string | null {
    const value = this.get(name);
    return value ? value.asText() : null;
  }

  /** Returns the number that it is; NaN where it is none. */
  asNumber(): f64 {
    if (!this.size) return NaN;
    const below = load<u8>(this.at) == 0x2d;
    const first: u32 = this.size > usize(below) ? load<u8>(this.at + usize(below)) - 0x30 : 10;
    if (first > 9) return NaN;
    const found = shortNumber(this.at + usize(below), this.size - usize(below));
    if (found >= 0) return below ? -found : found;
    return parseFloat(this.raw());
  }

  /** Tells whether it is a whole number of 64 bits. */
  isInteger(): bool {
    const below = usize(this.size > 0 && load<u8>(this.at) == 0x2d);
    if (this.size == below || this.size - below > 19) return false;
    let found: u64 = 0;
    for (let n: usize = below; n < this.size; n++) {
      const digit: u32 = load<u8>(this.at + n) - 0x30;
      if (digit > 9) return false;
      found = found * 10 + digit;
    }
    return found <= u64(i64.MAX_VALUE) + below;
  }

  /** Returns the whole number that it is, without loss; 0 where it is none. */
  asInteger(): i64 {
    if (!this.isInteger()) return 0;
    const below = load<u8>(this.at) == 0x2d;
    let found: u64 = 0;
    for (let n: usize = usize(below); n < this.size; n++) found = found * 10 + (load<u8>(this.at + n) - 0x30);
    return below ? -(<i64>found) : <i64>found;
  }

  /** Returns the text that a JSON string stands for, or null. */
  asText(): string | null {
    if (this.size < 2 || load<u8>(this.at) != 0x22) return null;
    return unescaped(this.at + 1, this.size - 2);
  }

  isNull(): bool {
    return this.size == 4 && load<u32>(this.at) == 0x6c6c756e;
  }

  /** Returns it as it is written. */
  raw(): string {
    return String.UTF8.decodeUnsafe(this.at, this.size);
  }
}

/** Returns the place behind white space and a punctuation mark. */
function past(at: usize, end: usize, mark: u8): usize {
  while (at < end && (load<u8>(at) <= 0x20 || load<u8>(at) == mark)) at++;
  return at;
}

/** Returns the place behind the quote that ends a string. */
function stringEnd(at: usize, end: usize): usize {
  while (true) {
    at = quote(at, end);
    if (at >= end) break;
    if (load<u8>(at) == 0x22) return at + 1;
    at += 2;
  }
  return end;
}

/** Returns the place of the next quote or backslash. */
function quote(at: usize, end: usize): usize {
  while (ASC_FEATURE_SIMD && at + 16 <= end) {
    const found = v128.load(at);
    const mask = i8x16.bitmask(v128.or(i8x16.eq(found, i8x16.splat(0x22)), i8x16.eq(found, i8x16.splat(0x5c))));
    if (mask) return at + ctz(mask);
    at += 16;
  }
  while (at < end && load<u8>(at) != 0x22 && load<u8>(at) != 0x5c) at++;
  return at;
}

/** Returns the place behind a value. */
function valueEnd(at: usize, end: usize): usize {
  let depth = 0;
  while (at < end) {
    const byte = load<u8>(at);
    if (byte == 0x22) {
      at = stringEnd(at + 1, end);
    } else if (byte == 0x7b || byte == 0x5b) {
      depth++;
      at++;
    } else if (!depth && (byte <= 0x20 || byte == 0x2c || byte == 0x7d || byte == 0x5d)) {
      return at;
    } else {
      at++;
      if (byte != 0x7d && byte != 0x5d) continue;
      depth--;
    }
    if (!depth) return at;
  }
  return end;
}

/** Tells whether what stands between quotes is a name. */
function isName(at: usize, size: usize, name: string): bool {
  const length = <usize>name.length;
  for (let n: usize = 0; n < size; n++) {
    const byte: u32 = load<u8>(at + n);
    if (byte >= 0x80 || byte == 0x5c) return unescaped(at, size) == name;
    if (n >= length || load<u16>(changetype<usize>(name) + (n << 1)) != byte) return hasEscapes(at + n, at + size) && unescaped(at, size) == name;
  }
  return size == length;
}

function hasEscapes(at: usize, end: usize): bool {
  for (; at < end; at++) if (load<u8>(at) == 0x5c || load<u8>(at) >= 0x80) return true;
  return false;
}

const POWERS: StaticArray<f64> = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/** Reads a number of up to 15 digits and a point, or 16 digits, with one rounding; -1: it is longer. */
function shortNumber(at: usize, size: usize): f64 {
  if (size > 16) return -1;
  let found: u64 = 0, point = size;
  for (let n: usize = 0; n < size; n++) {
    const digit: u32 = load<u8>(at + n) - 0x30;
    if (digit <= 9) found = found * 10 + digit;
    else if (load<u8>(at + n) == 0x2e && point == size) point = n;
    else return -1;
  }
  return <f64>found / unchecked(POWERS[point == size ? 0 : <i32>(size - point - 1)]);
}

function hexadecimal(at: usize, end: usize): i32 {
  if (at + 4 > end) return 0xfffd;
  return I32.parseInt(String.UTF8.decodeUnsafe(at, 4), 16);
}

/** Returns the text behind escapes; a half of a pair of surrogates alone becomes U+FFFD. */
function unescaped(at: usize, size: usize): string {
  const end = at + size;
  scratch.size = 0;
  while (at < end) {
    const byte = load<u8>(at++);
    if (byte != 0x5c || at == end) {
      scratch.byte(byte);
      continue;
    }
    const kind = load<u8>(at++);
    if (kind != 0x75) {
      const plain = kind == 0x62 ? 8 : kind == 0x66 ? 12 : kind == 0x6e ? 10 : kind == 0x72 ? 13 : kind == 0x74 ? 9 : kind;
      scratch.byte(<u8>plain);
      continue;
    }
    let code = hexadecimal(at, end);
    at = min(at + 4, end);
    if ((code & 0xfc00) == 0xd800 && at + 6 <= end && load<u16>(at) == 0x755c) {
      const low = hexadecimal(at + 2, end);
      if ((low & 0xfc00) == 0xdc00) {
        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
        at += 6;
      }
    }
    scratch.letter((code & 0xfffff800) == 0xd800 ? 0xfffd : code);
  }
  return String.UTF8.decodeUnsafe(scratch.data, scratch.size);
}

// ---- writing -------------------------------------------------------------------------------------------------------

/** Bytes that grow, outside of what is collected. */
@final
class Bytes {
  data: usize = 0;
  size: usize = 0;
  private room: usize = 0;

  grow(more: usize): usize {
    if (this.size + more > this.room) {
      this.room = (this.size + more) * 2 + 64;
      this.data = this.data ? heap.realloc(this.data, this.room) : heap.alloc(this.room);
    }
    return this.data + this.size;
  }

  add(at: usize, size: usize): void {
    memory.copy(this.grow(size), at, size);
    this.size += size;
  }

  byte(byte: u8): void {
    store<u8>(this.grow(1), byte);
    this.size++;
  }

  word(word: usize): void {
    store<u32>(this.grow(4), <u32>word);
    this.size += 4;
  }

  text(text: string): void {
    const at = this.grow(<usize>text.length * 3);
    this.size += String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at, false, String.UTF8.ErrorMode.REPLACE);
  }

  letter(code: i32): void {
    if (code < 0x80) return this.byte(<u8>code);
    const more: i32 = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const lead: i32 = (0xf0 << (3 - more)) | (code >> (6 * more));
    this.byte(<u8>lead);
    for (let n = more - 1; n >= 0; n--) this.byte(<u8>(0x80 | ((code >> (6 * n)) & 0x3f)));
  }
}

/** The records of an output, each with a line break, the row that each came of, and how many there were before a row. */
@final
class Part {
  text: Bytes = new Bytes();
  sources: Bytes = new Bytes();
  textBefore: usize = 0;
  sourcesBefore: usize = 0;
}

/** Where records are written. */
@final
export class Out {
  /** One for each output, the default one first. */
  parts: Part[] = [new Part()];
  /** Which part each record went to. */
  places: Bytes = new Bytes();
  source: u32 = 0;
  begin: usize = 0;
  private first: Bytes = this.parts[0].text;

  constructor(public outputs: Output[]) {
    for (let n = 0; n < outputs.length; n++) this.parts.push(new Part());
  }

  /** Writes JSON as it is given. */
  raw(json: string): void {
    this.first.text(json);
  }

  /** Writes a record as it came, or another value. */
  copy(value: Json): void {
    this.first.add(value.at, value.size);
  }

  /** Writes a value: a number, a bool, a string, or a Json. */
  value<T>(value: T): void {
    if (isBoolean<T>(value)) this.raw(value ? "true" : "false");
    else if (isInteger<T>(value)) this.raw(value.toString());
    else if (isFloat<T>(value)) this.decimal(<f64>value);
    else if (isString<T>(value)) this.string(value);
    else this.copy(value);
  }

  /** Begins an object that has all fields of a record; `field` adds more of them, `end` ends it. */
  extend(record: Json): void {
    let size = record.size;
    while (size && load<u8>(record.at + size - 1) <= 0x20) size--;
    if (size) size--;
    while (size && load<u8>(record.at + size - 1) <= 0x20) size--;
    this.first.add(record.at, size);
  }

  /** Begins an object. */
  object(): void {
    this.first.byte(0x7b);
  }

  field<T>(name: string, value: T): void {
    const text = this.first;
    if (!text.size || load<u8>(text.data + text.size - 1) != 0x7b) text.byte(0x2c);
    this.string(name);
    text.byte(0x3a);
    this.value<T>(value);
  }

  end(): void {
    this.first.byte(0x7d);
  }

  /** Writes a record with another value in one of its fields, which is added where it is not there. */
  copyWith<T>(record: Json, name: string, value: T): void {
    const old = record.get(name);
    if (!old) {
      this.extend(record);
      this.field<T>(name, value);
      return this.end();
    }
    this.first.add(record.at, old.at - record.at);
    this.value<T>(value);
    this.first.add(old.at + old.size, record.at + record.size - old.at - old.size);
  }

  /** Ends a record, which goes to an output of `info`; "" is the default one. */
  emit(output: string): void {
    if (!output.length) return this.emitTo(0);
    for (let n = 0; n < this.outputs.length; n++) {
      if (this.outputs[n].name == output) return this.emitTo(n + 1);
    }
    throw new Error("the plugin has no output " + output);
  }

  bad(why: string): Verdict {
    words.text(why);
    return Verdict.Bad;
  }

  transient(why: string): Verdict {
    words.text(why);
    return Verdict.Transient;
  }

  fatal(why: string): Verdict {
    words.text(why);
    return Verdict.Fatal;
  }

  private decimal(value: f64): void {
    if (!isFinite(value)) return this.raw("null");
    if (value == 0) return this.raw("0.0");
    const parts = nearest(value * 10000);
    if (abs(parts) >= 9e15 || parts / 10000 != value) return this.raw(value.toString());
    const found = <u64>abs(parts); // most numbers are parts of ten thousand, and this is quicker
    if (parts < 0) this.first.byte(0x2d);
    this.digits(found / 10000);
    this.first.byte(0x2e);
    let rest = <u32>(found % 10000);
    do {
      this.first.byte(<u8>(0x30 + rest / 1000));
      rest = (rest % 1000) * 10;
    } while (rest);
  }

  private digits(value: u64): void {
    const at = this.first.grow(20) + 20;
    let begin = at;
    do {
      store<u8>(--begin, <u8>(0x30 + (value % 10)));
      value /= 10;
    } while (value);
    memory.copy(at - 20, begin, at - begin);
    this.first.size += at - begin;
  }

  private string(text: string): void {
    const into = this.first;
    into.byte(0x22);
    const begin = into.size;
    into.text(text);
    let special = 0;
    for (let n = begin; n < into.size; n++) special += i32(needsEscape(load<u8>(into.data + n)));
    if (special) {
      scratch.size = 0;
      scratch.add(into.data + begin, into.size - begin);
      into.size = begin;
      for (let n: usize = 0; n < scratch.size; n++) escape(into, load<u8>(scratch.data + n));
    }
    into.byte(0x22);
  }

  emitTo(place: i32): void {
    const first = this.first, part = this.parts[place];
    first.byte(0x0a);
    if (place) {
      part.text.add(first.data + this.begin, first.size - this.begin);
      first.size = this.begin;
    }
    part.sources.word(this.source);
    this.places.word(place);
    this.begin = first.size;
  }

  clear(): void {
    for (let n = 0; n < this.parts.length; n++) {
      this.parts[n].text.size = 0;
      this.parts[n].sources.size = 0;
    }
    this.places.size = 0;
    this.begin = 0;
    words.size = 0;
  }

  /** Has the plugin process a row, and leaves nothing of one that it does not keep. */
  written(at: usize, size: usize, source: u32): Verdict {
    this.source = source;
    this.begin = this.first.size;
    for (let n = 0, count = this.parts.length; n < count; n++) {
      const part = unchecked(this.parts[n]);
      part.textBefore = part.text.size;
      part.sourcesBefore = part.sources.size;
    }
    const count = this.places.size;
    const verdict = opened().process(new Json(at, size), this);
    if (verdict == Verdict.Keep) {
      if (this.first.size > this.begin) this.emitTo(0);
      return verdict;
    }
    for (let n = 0; n < this.parts.length; n++) {
      this.parts[n].text.size = this.parts[n].textBefore;
      this.parts[n].sources.size = this.parts[n].sourcesBefore;
    }
    this.places.size = count;
    return verdict;
  }
}

function needsEscape(byte: u8): bool {
  return byte < 0x20 || byte == 0x22 || byte == 0x5c;
}

function escape(into: Bytes, byte: u8): void {
  if (needsEscape(byte)) into.byte(0x5c);
  if (byte >= 0x20) return into.byte(byte);
  into.text("u00");
  into.byte(0x30 + (byte >> 4));
  into.byte((byte & 15) < 10 ? 0x30 + (byte & 15) : 0x57 + (byte & 15));
}

let out: Out = new Out([]);

function opened(): Plugin {
  const there = plugin;
  if (!there) throw new Error("no plugin is registered");
  return there;
}

// ---- what the host offers ------------------------------------------------------------------------------------------

export enum Level {
  Debug,
  Info,
  Warn,
  Error,
}

@external("dataflare:plugin/host@1.0.0", "log")
declare function hostLog(level: u32, at: usize, size: usize): void;
@external("dataflare:plugin/host@1.0.0", "metric")
declare function hostMetric(at: usize, size: usize, value: f64): void;
@external("dataflare:plugin/host@1.0.0", "now")
declare function hostNow(): u64;
@external("dataflare:plugin/host@1.0.0", "get-state")
declare function hostGetState(at: usize, size: usize, found: usize): void;
@external("dataflare:plugin/host@1.0.0", "set-state")
declare function hostSetState(at: usize, size: usize, some: u32, value: usize, valueSize: usize): void;

function put(text: string): void {
  said.size = 0;
  said.text(text);
}

export function log(level: Level, message: string): void {
  put(message);
  hostLog(level, said.data, said.size);
}

/** Adds to a counter. */
export function metric(name: string, value: f64): void {
  put(name);
  hostMetric(said.data, said.size, value);
}

/** Returns the time of the epoch in microseconds since 1970: the same for all rows of an epoch. */
export function now(): u64 {
  return hostNow();
}

/** Returns the state of a key, a JSON list of the values of the node's key, or null. */
export function getState(key: string): string | null {
  const found = memory.data(12);
  put(key);
  hostGetState(said.data, said.size, found);
  if (!load<u8>(found)) return null;
  const text = String.UTF8.decodeUnsafe(load<u32>(found, 4), load<u32>(found, 8));
  release(load<u32>(found, 4), load<u32>(found, 8));
  return text;
}

/** Keeps the state of a key, JSON; null: forgets it. */
export function setState(key: string, value: string | null): void {
  put(key);
  scratch.size = 0;
  if (value) scratch.text(value);
  hostSetState(said.data, said.size, u32(value !== null), scratch.data, scratch.size);
}

// ---- what the host calls: the canonical ABI; dataflare-exports.mjs gives these their names -------------------------

export function dataflare_abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const what = message ? message : "abort", where = file ? file : "";
  const text = what + " (" + where + ":" + line.toString() + ":" + column.toString() + ")";
  const at = heap.alloc(<usize>text.length * 3);
  hostLog(Level.Error, at, String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at));
  unreachable();
}

export function dataflare_realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {
  if (!size) return align;
  return oldSize ? heap.realloc(old, size) : heap.alloc(size);
}

function release(at: usize, size: usize): void {
  if (size) heap.free(at);
}

function tell(place: i32, word: usize): void {
  store<u32>(told + (place << 2), <u32>word);
}

/** Keeps texts of `describe` for ever: it is called once. */
function kept(text: string): usize {
  const size = String.UTF8.byteLength(text), at = heap.alloc(<usize>size + 1);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at);
  lists.word(at);
  lists.word(size);
  return at;
}

function tellText(place: i32, text: string): void {
  tell(place, kept(text));
  tell(place + 1, String.UTF8.byteLength(text));
}

/** Returns where the words lie that were listed since a place, in memory that stays. */
function listed(begin: usize): usize {
  const at = heap.alloc(lists.size - begin + 1);
  memory.copy(at, lists.data + begin, lists.size - begin);
  lists.size = begin;
  return at;
}

export function dataflare_describe(): usize {
  const info = opened().info;
  tellText(0, info.name);
  tellText(2, info.version);
  tellText(4, info.settingsSchema);
  lists.size = 0;
  const input = info.input ? info.input! : [];
  for (let n = 0; n < input.length; n++) kept(input[n]);
  tell(6, usize(info.stateful));
  tell(7, usize(info.input !== null));
  tell(8, listed(0));
  tell(9, input.length);
  tell(10, 0);
  for (let n = 0; n < info.outputs.length; n++) {
    const output = info.outputs[n], columns = output.columns ? output.columns! : [];
    kept(output.name);
    const begin = lists.size;
    for (let c = 0; c < columns.length; c++) {
      kept(columns[c].name);
      kept(columns[c].kind);
    }
    const at = listed(begin);
    lists.word(usize(output.columns !== null));
    lists.word(at);
    lists.word(columns.length);
    lists.word(usize(output.adds));
  }
  tell(11, listed(0));
  tell(12, info.outputs.length);
  return told;
}

function answer(verdict: Verdict, begin: usize = 0): usize {
  tell(0, usize(verdict >= Verdict.Bad));
  tell(1, verdict >= Verdict.Bad ? <usize>(verdict - Verdict.Bad) : 0);
  tell(2, words.data + begin);
  tell(3, words.size - begin);
  return told;
}

function refused(why: string | null): usize {
  return answer(why === null ? Verdict.Keep : out.fatal(why));
}

export function dataflare_open(at: usize, size: usize): usize {
  out.clear();
  const why = opened().open(new Json(at, size));
  release(at, size);
  return refused(why);
}

export function dataflare_close(): void {
  opened().close();
}

export function dataflare_export_state(): usize {
  put(opened().exportState());
  tell(0, said.data);
  tell(1, said.size);
  return told;
}

export function dataflare_import_state(at: usize, size: usize): usize {
  out.clear();
  const why = opened().importState(new Json(at, size));
  release(at, size);
  return refused(why);
}

function nameOf(place: i32): void {
  if (!place) {
    lists.word(0);
    lists.word(0);
  } else {
    lists.word(load<u32>(names.data + ((place - 1) << 3)));
    lists.word(load<u32>(names.data + ((place - 1) << 3) + 4));
  }
}

/** Lists the names of the outputs once. */
function knowNames(): void {
  if (names.size) return;
  lists.size = 0;
  for (let n = 0; n < out.outputs.length; n++) kept(out.outputs[n].name);
  names.add(lists.data, lists.size);
}

function lineEnd(at: usize, end: usize): usize {
  while (ASC_FEATURE_SIMD && at + 16 <= end) {
    const mask = i8x16.bitmask(i8x16.eq(v128.load(at), i8x16.splat(0x0a)));
    if (mask) return at + ctz(mask);
    at += 16;
  }
  while (at < end && load<u8>(at) != 0x0a) at++;
  return at;
}

export function dataflare_process(at: usize, size: usize): usize {
  out.clear();
  knowNames();
  const verdict = out.written(at, size, 0);
  release(at, size);
  if (verdict >= Verdict.Bad) return answer(verdict);
  const count = out.places.size >> 2;
  lists.size = 0;
  for (let n = 0; n < out.parts.length; n++) out.parts[n].textBefore = 0;
  for (let n: usize = 0; n < count; n++) {
    const place = load<i32>(out.places.data + (n << 2)), part = out.parts[place];
    const begin = part.text.data + part.textBefore, end = lineEnd(begin, part.text.data + part.text.size);
    part.textBefore += end - begin + 1;
    nameOf(place);
    lists.word(begin);
    lists.word(end - begin);
  }
  const keep = count == 1 && !load<u32>(out.places.data);
  tell(0, 0);
  tell(1, !count ? 1 : keep ? 0 : 3);
  tell(2, keep ? load<usize>(lists.data, 8) : lists.data);
  tell(3, keep ? load<usize>(lists.data, 12) : count);
  return told;
}

export function dataflare_process_batch(format: u32, rows: u32, data: usize, size: usize): usize {
  out.clear();
  knowNames();
  errors.size = 0;
  const end = data + size;
  let at = data;
  for (let row: u32 = 0; row < rows; row++) {
    const next = lineEnd(at, end), before = words.size;
    const verdict = out.written(at, next - at, row);
    if (verdict > Verdict.Bad) {
      release(data, size);
      return answer(verdict, before);
    }
    if (verdict == Verdict.Bad) {
      errors.word(row);
      errors.word(before);
      errors.word(words.size - before);
    }
    at = min(next + 1, end);
  }
  release(data, size);
  for (let n: usize = 4; n < errors.size; n += 12) {
    store<u32>(errors.data + n, load<u32>(errors.data + n) + <u32>words.data);
  }
  tellParts(rows);
  tell(0, 0);
  tell(3, errors.data);
  tell(4, errors.size / 12);
  return told;
}

function tellParts(rows: u32): void {
  const sources = out.parts[0].sources;
  let same = out.places.size == <usize>rows << 2 && sources.size == out.places.size;
  for (let row: u32 = 0; same && row < rows; row++) same = load<u32>(sources.data + (<usize>row << 2)) == row;
  lists.size = 0;
  for (let place = 0; place < out.parts.length; place++) {
    const part = out.parts[place];
    if (place && (same || !out.outputs[place - 1].name.length)) continue; // the default output is the first part
    nameOf(place);
    lists.word(part.sources.size >> 2);
    lists.word(part.text.data);
    lists.word(part.text.size ? part.text.size - 1 : 0);
    lists.word(usize(!same));
    lists.word(part.sources.data);
    lists.word(part.sources.size >> 2);
  }
  tell(1, lists.data);
  tell(2, lists.size >> 5);
}
