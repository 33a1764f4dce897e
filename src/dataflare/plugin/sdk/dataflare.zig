//! The SDK for plugins in Zig: this file is all of it.
//!
//!     const df = @import("dataflare.zig");
//!     pub const panic = df.panic;
//!
//!     const Upper = struct {
//!         pub const info: df.Info = .{ .name = "upper", .version = "1.0.0" };
//!
//!         pub fn open(_: df.Json, _: *df.Out) df.Failure!Upper {
//!             return .{};
//!         }
//!
//!         pub fn process(_: *Upper, record: df.Json, out: *df.Out) df.Failure!df.Verdict {
//!             out.copy(record);
//!             return .keep;
//!         }
//!     };
//!
//!     comptime {
//!         df.exportPlugin(Upper);
//!     }
//!
//! A plugin may also have `close(self)`, `exportState(self, out)` and `importState(self, state, why)`.
//! Build: zig build-exe plugin.zig -target wasm32-freestanding -mcpu generic+simd128+bulk_memory -O ReleaseFast -fno-entry
//! -rdynamic -fstrip -femit-bin=plugin.wasm
//!
//! Behind it are the functions of dataflare.wit in the canonical ABI of the component model.
const std = @import("std");

/// What a plugin says of itself.
pub const Info = struct {
    name: []const u8,
    version: []const u8,
    /// JSON Schema of the settings.
    settings_schema: []const u8 = "{}",
    /// The columns that it is given; null: all.
    input: ?[]const []const u8 = null,
    outputs: []const Output = &.{},
    /// Whether it has state of its own: `exportState` and `importState`.
    stateful: bool = false,
};

/// A column with its type as in workflow files.
pub const Column = struct { []const u8, []const u8 };

/// An output; the one without a name is the default one. No columns: those that came in. `adds`: they come beside those.
pub const Output = struct {
    name: []const u8 = "",
    columns: ?[]const Column = null,
    adds: bool = false,
};

/// keep: what was written since the last `emit` is a record of the default output. drop: the row leaves nothing.
pub const Verdict = enum { keep, drop };

/// What `out.bad`, `out.transient` and `out.fatal` return. A bad record is handled by `on_error`; after a transient
/// failure the run tries again; a fatal one ends it.
pub const Failure = error{ Bad, Transient, Fatal };

// ---- reading -------------------------------------------------------------------------------------------------------

/// A value as it is written in JSON: a record, its fields, settings, state. Nothing is parsed before it is asked for.
pub const Json = struct {
    text: []const u8,

    /// Returns the value of a field of an object; those of objects inside are theirs.
    pub fn get(self: Json, name: []const u8) ?Json {
        var rest = self.fields();
        while (rest.next()) |one| {
            if (isName(one.name[1 .. one.name.len - 1], name)) return one.value;
        }
        return null;
    }

    pub fn number(self: Json, name: []const u8) ?f64 {
        return (self.get(name) orelse return null).asNumber();
    }

    pub fn integer(self: Json, name: []const u8) ?i64 {
        return (self.get(name) orelse return null).asInteger();
    }

    /// Returns the text of a field; it stays until the next row.
    pub fn string(self: Json, name: []const u8) ?[]const u8 {
        return (self.get(name) orelse return null).asString();
    }

    pub fn asNumber(self: Json) ?f64 {
        const digits = if (self.text.len > 0 and self.text[0] == '-') self.text[1..] else self.text;
        if (digits.len == 0 or !std.ascii.isDigit(digits[0])) return null;
        if (shortNumber(digits)) |found| return if (digits.len == self.text.len) found else -found;
        for (digits) |byte| if (std.mem.indexOfScalar(u8, "0123456789+-.eE", byte) == null) return null;
        return std.fmt.parseFloat(f64, self.text) catch null;
    }

    /// Returns a whole number of 64 bits, without loss.
    pub fn asInteger(self: Json) ?i64 {
        const digits = if (self.text.len > 0 and self.text[0] == '-') self.text[1..] else self.text;
        for (digits) |byte| if (!std.ascii.isDigit(byte)) return null;
        return std.fmt.parseInt(i64, self.text, 10) catch null;
    }

    /// Returns the text that a JSON string stands for; it stays until the next row.
    pub fn asString(self: Json) ?[]const u8 {
        if (self.text.len < 2 or self.text[0] != '"') return null;
        const inner = self.text[1 .. self.text.len - 1];
        if (find(inner, 0, "\\") == inner.len) return inner;
        return unescaped(inner, textRoom(inner.len));
    }

    pub fn isNull(self: Json) bool {
        return std.mem.eql(u8, self.text, "null");
    }

    /// Returns the fields of an object: the names as JSON strings, and the values.
    pub fn fields(self: Json) Fields {
        return .{ .text = self.text, .at = if (self.text.len > 0 and self.text[0] == '{') 1 else self.text.len };
    }

    /// Returns the elements of a list.
    pub fn items(self: Json) Items {
        return .{ .text = self.text, .at = if (self.text.len > 0 and self.text[0] == '[') 1 else self.text.len };
    }
};

pub const Fields = struct {
    text: []const u8,
    at: usize,

    pub const Field = struct { name: []const u8, value: Json };

    pub fn next(self: *Fields) ?Field {
        const begin = past(self.text, self.at, ',');
        if (begin >= self.text.len or self.text[begin] != '"') return null;
        const end = stringEnd(self.text, begin + 1);
        const at = past(self.text, end, ':');
        self.at = valueEnd(self.text, at);
        return .{ .name = self.text[begin..end], .value = .{ .text = self.text[at..self.at] } };
    }
};

pub const Items = struct {
    text: []const u8,
    at: usize,

    pub fn next(self: *Items) ?Json {
        const at = past(self.text, self.at, ',');
        self.at = valueEnd(self.text, at);
        return if (self.at > at) .{ .text = self.text[at..self.at] } else null;
    }
};

/// Texts that were made for this row.
var texts = std.heap.ArenaAllocator.init(allocator);
var texts_used = false;

fn textRoom(size: usize) []u8 {
    texts_used = true;
    return texts.allocator().alloc(u8, size) catch @panic("out of memory");
}

fn forgetTexts() void {
    if (texts_used) _ = texts.reset(.retain_capacity);
    texts_used = false;
}

/// Tells whether what stands between quotes is a name; where there are escapes in it, it is longer than the name.
fn isName(inner: []const u8, name: []const u8) bool {
    if (inner.len == name.len) return std.mem.eql(u8, inner, name);
    if (inner.len < name.len or find(inner, 0, "\\") == inner.len) return false;
    const text = (Json{ .text = (inner.ptr - 1)[0 .. inner.len + 2] }).asString() orelse return false;
    return std.mem.eql(u8, text, name);
}

/// Reads a number of up to 15 digits and a point, or 16 digits: there is one rounding, by the division or by the
/// conversion, as whole numbers below 2^53 and powers of ten up to 10^22 are exact.
fn shortNumber(digits: []const u8) ?f64 {
    const powers = [_]f64{ 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };
    if (digits.len > 16) return null;
    var found: u64 = 0;
    var point: usize = digits.len;
    for (digits, 0..) |digit, at| {
        if (digit == '.' and point == digits.len) {
            point = at;
        } else if (digit >= '0' and digit <= '9') {
            found = found * 10 + (digit - '0');
        } else return null;
    }
    return @as(f64, @floatFromInt(found)) / powers[(digits.len - point) -| 1];
}

/// Returns the place behind white space and a punctuation mark.
fn past(text: []const u8, from: usize, mark: u8) usize {
    var at = from;
    while (at < text.len and (text[at] <= ' ' or text[at] == mark)) at += 1;
    return at;
}

fn trimmed(text: []const u8) []const u8 {
    var size = text.len;
    while (size > 0 and text[size - 1] <= ' ') size -= 1;
    return text[0..size];
}

/// Returns the place of the first byte from `from` on that is one of these; the length where there is none.
inline fn find(text: []const u8, from: usize, comptime these: []const u8) usize {
    var at = from;
    while (at + 16 <= text.len) : (at += 16) {
        const found: @Vector(16, u8) = text[at..][0..16].*;
        var mask: u16 = 0;
        inline for (these) |byte| mask |= @bitCast(found == @as(@Vector(16, u8), @splat(byte)));
        if (mask != 0) return at + @ctz(mask);
    }
    while (at < text.len) : (at += 1) {
        inline for (these) |byte| if (text[at] == byte) return at;
    }
    return text.len;
}

/// Returns the place behind the quote that ends a string, whose first letter is at `from`.
fn stringEnd(text: []const u8, from: usize) usize {
    var at = find(text, from, "\"\\");
    while (at < text.len) : (at = find(text, @min(at + 2, text.len), "\"\\")) {
        if (text[at] == '"') return at + 1;
    }
    return text.len;
}

/// Returns the place behind a value.
fn valueEnd(text: []const u8, from: usize) usize {
    if (from >= text.len) return text.len;
    return switch (text[from]) {
        '"' => stringEnd(text, from + 1),
        '{', '[' => nestedEnd(text, from),
        else => find(text, from, ",}] \n\t\r"),
    };
}

fn nestedEnd(text: []const u8, from: usize) usize {
    var at = from;
    var depth: usize = 0;
    while (at < text.len) {
        const byte = text[at];
        at = if (byte == '"') stringEnd(text, at + 1) else at + 1;
        if (byte == '{' or byte == '[') depth += 1;
        if (byte == '}' or byte == ']') depth -= 1;
        if (depth == 0) return at;
    }
    return text.len;
}

/// Writes the text behind escapes; a half of a pair of surrogates alone becomes U+FFFD.
fn unescaped(inner: []const u8, into: []u8) []const u8 {
    var at: usize = 0;
    var size: usize = 0;
    while (at < inner.len) {
        if (inner[at] != '\\' or at + 1 == inner.len) {
            into[size] = inner[at];
            at += 1;
            size += 1;
            continue;
        }
        const kind = inner[at + 1];
        at += 2;
        if (kind == 'u') {
            var code = hexadecimal(inner, at);
            at = @min(at + 4, inner.len);
            if (code & 0xFC00 == 0xD800 and at + 6 <= inner.len and inner[at] == '\\' and inner[at + 1] == 'u') {
                const low = hexadecimal(inner, at + 2);
                if (low & 0xFC00 == 0xDC00) {
                    code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF);
                    at += 6;
                }
            }
            size += std.unicode.utf8Encode(code, into[size..]) catch replaced(into[size..]);
            continue;
        }
        into[size] = switch (kind) {
            'b' => 8,
            'f' => 12,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            else => kind,
        };
        size += 1;
    }
    return into[0..size];
}

fn replaced(into: []u8) usize {
    @memcpy(into[0..3], "\u{FFFD}");
    return 3;
}

fn hexadecimal(text: []const u8, at: usize) u21 {
    if (at + 4 > text.len) return 0xFFFD;
    return std.fmt.parseInt(u16, text[at..][0..4], 16) catch 0xFFFD;
}

// ---- writing -------------------------------------------------------------------------------------------------------

/// What is written: records of an output, or the words of an error.
pub const Out = struct {
    /// One for each output, the default one first.
    parts: []Part,
    outputs: []const Output,
    /// Which part each record went to.
    places: List(u32) = .{},
    source: u32 = 0,
    /// Where the record that is being written begins, in the first part.
    begin: usize = 0,
    words: List(u8) = .{},

    /// Writes JSON as it is given.
    pub fn raw(self: *Out, json: []const u8) void {
        self.parts[0].text.addAll(json);
    }

    /// Writes a value: a number, a bool, a text, a Json, or null.
    pub fn value(self: *Out, given: anytype) void {
        const Given = @TypeOf(given);
        switch (@typeInfo(Given)) {
            .null => self.raw("null"),
            .optional => if (given) |there| self.value(there) else self.raw("null"),
            .bool => self.raw(if (given) "true" else "false"),
            .int, .comptime_int => self.whole(given),
            .float, .comptime_float => self.decimal(given),
            else => if (Given == Json) self.raw(given.text) else self.string(given),
        }
    }

    /// Writes a record as it came.
    pub fn copy(self: *Out, record: Json) void {
        self.raw(record.text);
    }

    /// Begins an object that has all fields of a record; `field` adds more of them, `end` ends it.
    pub fn extend(self: *Out, record: Json) void {
        const text = trimmed(record.text);
        self.raw(if (text.len > 0) trimmed(text[0 .. text.len - 1]) else "{");
    }

    /// Begins an object.
    pub fn object(self: *Out) void {
        self.raw("{");
    }

    pub fn field(self: *Out, name: []const u8, given: anytype) void {
        const text = self.parts[0].text;
        if (text.size == 0 or text.room[text.size - 1] != '{') self.raw(",");
        self.string(name);
        self.raw(":");
        self.value(given);
    }

    pub fn end(self: *Out) void {
        self.raw("}");
    }

    /// Writes a record with another value in one of its fields, which is added where it is not there.
    pub fn copyWith(self: *Out, record: Json, name: []const u8, given: anytype) void {
        const old = record.get(name) orelse {
            self.extend(record);
            self.field(name, given);
            return self.end();
        };
        const at = @intFromPtr(old.text.ptr) - @intFromPtr(record.text.ptr);
        self.raw(record.text[0..at]);
        self.value(given);
        self.raw(record.text[at + old.text.len ..]);
    }

    /// Ends a record, which goes to an output of `info`; "" is the default one.
    pub fn emit(self: *Out, output: []const u8) void {
        if (output.len == 0) return self.emitTo(0);
        for (self.outputs, 1..) |one, place| {
            if (std.mem.eql(u8, one.name, output)) return self.emitTo(place);
        }
        @panic("the plugin has no such output");
    }

    /// Says why a record is bad; returns what `process` returns then.
    pub fn bad(self: *Out, words: []const u8) Failure {
        self.say(words);
        return error.Bad;
    }

    pub fn transient(self: *Out, words: []const u8) Failure {
        self.say(words);
        return error.Transient;
    }

    pub fn fatal(self: *Out, words: []const u8) Failure {
        self.say(words);
        return error.Fatal;
    }

    /// Says more about a failure, before it is returned.
    pub fn say(self: *Out, words: []const u8) void {
        self.words.addAll(words);
    }

    fn whole(self: *Out, given: anytype) void {
        var digits: [40]u8 = undefined;
        self.raw(std.fmt.bufPrint(&digits, "{d}", .{given}) catch unreachable);
    }

    /// Writes the shortest number that is read as the same; what is no number is null.
    fn decimal(self: *Out, given: f64) void {
        if (!std.math.isFinite(given)) return self.raw("null");
        const parts = @round(given * 10_000);
        var digits: [40]u8 = undefined;
        if (@abs(parts) < 9e15 and parts / 10_000 == given and parts != 0) { // most numbers, and quicker
            const found: u64 = @intFromFloat(@abs(parts));
            const sign: []const u8 = if (parts < 0) "-" else "";
            var text = std.fmt.bufPrint(&digits, "{s}{d}.{d:0>4}", .{ sign, found / 10_000, found % 10_000 }) catch unreachable;
            while (text[text.len - 1] == '0' and text[text.len - 2] != '.') text.len -= 1;
            return self.raw(text);
        }
        self.raw(std.fmt.bufPrint(&digits, "{e}", .{given}) catch unreachable);
    }

    /// Writes a text as a JSON string.
    fn string(self: *Out, text: []const u8) void {
        var begin: usize = 0;
        self.raw("\"");
        for (text, 0..) |byte, at| {
            if (byte >= ' ' and byte != '"' and byte != '\\') continue;
            self.raw(text[begin..at]);
            begin = at + 1;
            var escape: [8]u8 = undefined;
            self.raw(if (byte >= ' ') &.{ '\\', byte } else std.fmt.bufPrint(&escape, "\\u{x:0>4}", .{byte}) catch unreachable);
        }
        self.raw(text[begin..]);
        self.raw("\"");
    }

    fn emitTo(self: *Out, place: usize) void {
        const first = &self.parts[0].text;
        first.add('\n');
        if (place > 0) {
            self.parts[place].text.addAll(first.items()[self.begin..]);
            first.size = self.begin;
        }
        self.parts[place].sources.add(self.source);
        self.places.add(place);
        self.begin = first.size;
    }

    fn clear(self: *Out) void {
        for (self.parts) |*part| {
            part.text.size = 0;
            part.sources.size = 0;
        }
        self.places.size = 0;
        self.words.size = 0;
        self.begin = 0;
    }

    /// Has a plugin process a row, and leaves nothing of one that it does not keep.
    inline fn written(self: *Out, plugin: anytype, record: []const u8, source: u32) Failure!void {
        self.source = source;
        self.begin = self.parts[0].text.size;
        for (self.parts) |*part| part.before = .{ part.text.size, part.sources.size };
        const count = self.places.size;
        const verdict = plugin.process(.{ .text = record }, self);
        if (verdict) |good| {
            if (good == .keep) {
                if (self.parts[0].text.size > self.begin) self.emitTo(0);
                return;
            }
        } else |_| {}
        for (self.parts) |*part| part.text.size, part.sources.size = part.before;
        self.places.size = count;
        _ = try verdict;
    }
};

/// The records of an output, each with a line break, the row that each came of, and how many there were before a row.
const Part = struct {
    text: List(u8) = .{},
    sources: List(u32) = .{},
    before: struct { usize, usize } = .{ 0, 0 },
};

const allocator = std.heap.wasm_allocator;

fn List(comptime T: type) type {
    return struct {
        const Self = @This();
        room: []T = &.{},
        size: usize = 0,

        fn items(self: Self) []T {
            return self.room[0..self.size];
        }

        fn addAll(self: *Self, more: []const T) void {
            if (more.len > self.room.len - self.size) {
                self.room = allocator.realloc(self.room, (self.size + more.len) * 2 + 64) catch @panic("out of memory");
            }
            @memcpy(self.room[self.size..][0..more.len], more);
            self.size += more.len;
        }

        fn add(self: *Self, one: anytype) void {
            self.addAll(&.{@as(T, @intCast(one))});
        }
    };
}

// ---- what the host offers ------------------------------------------------------------------------------------------

pub const Level = enum(u32) { debug, info, warn, err };

const host = struct {
    const module = "dataflare:plugin/host@1.0.0";
    const log = @extern(*const fn (u32, [*]const u8, usize) callconv(.c) void, .{ .name = "log", .library_name = module });
    const metric = @extern(*const fn ([*]const u8, usize, f64) callconv(.c) void, .{ .name = "metric", .library_name = module });
    const now = @extern(*const fn () callconv(.c) u64, .{ .name = "now", .library_name = module });
    const get = @extern(*const fn ([*]const u8, usize, *[3]usize) callconv(.c) void, .{ .name = "get-state", .library_name = module });
    const set = @extern(*const fn ([*]const u8, usize, u32, [*]const u8, usize) callconv(.c) void, .{ .name = "set-state", .library_name = module });
};

pub fn log(level: Level, message: []const u8) void {
    host.log(@intFromEnum(level), message.ptr, message.len);
}

/// Adds to a counter.
pub fn metric(name: []const u8, value: f64) void {
    host.metric(name.ptr, name.len, value);
}

/// Returns the time of the epoch in microseconds since 1970: the same for all rows of an epoch.
pub fn now() u64 {
    return host.now();
}

/// Returns the state of a key, a JSON list of the values of the node's key. It stays until the next row.
pub fn getState(key: []const u8) ?Json {
    var found: [3]usize = undefined;
    host.get(key.ptr, key.len, &found);
    if (found[0] & 0xFF == 0) return null;
    const given = taken(found[1], found[2]);
    defer allocator.free(given);
    const text = textRoom(given.len);
    @memcpy(text, given);
    return .{ .text = text };
}

/// Keeps the state of a key; null: forgets it.
pub fn setState(key: []const u8, value: ?Json) void {
    const text = if (value) |json| json.text else "";
    host.set(key.ptr, key.len, @intFromBool(value != null), text.ptr, text.len);
}

/// Logs why a plugin panics, then ends the instance. `pub const panic = df.panic;` in the plugin has it called.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(words: []const u8, _: ?usize) noreturn {
    log(.err, words);
    @trap();
}

// ---- what the host calls: the canonical ABI ------------------------------------------------------------------------

fn reallocate(old: usize, old_size: usize, alignment: usize, size: usize) callconv(.c) usize {
    if (size == 0) return alignment;
    const new = allocator.rawAlloc(size, .fromByteUnits(alignment), 0) orelse @panic("out of memory");
    if (old_size > 0) {
        const before = @as([*]u8, @ptrFromInt(old))[0..old_size];
        @memcpy(new[0..@min(old_size, size)], before[0..@min(old_size, size)]);
        allocator.rawFree(before, .fromByteUnits(alignment), 0);
    }
    return @intFromPtr(new);
}

/// Takes over a text that the host has put into memory out of cabi_realloc; `allocator.free` it.
fn taken(at: usize, size: usize) []u8 {
    return if (size == 0) &.{} else @as([*]u8, @ptrFromInt(at))[0..size];
}

fn pair(text: []const u8) [2]u32 {
    return .{ if (text.len == 0) 0 else @intFromPtr(text.ptr), text.len };
}

fn list(words: []const u32, size: usize) [2]u32 {
    return .{ if (words.len == 0) 0 else @intFromPtr(words.ptr), words.len / size };
}

/// Exports a plugin: a type with `info`, `open` and `process`. Call it once, at comptime.
pub fn exportPlugin(comptime Plugin: type) void {
    const lifecycle = "dataflare:plugin/lifecycle@1.0.0#";
    const processor = "dataflare:plugin/processor@1.0.0#";
    const I = Instance(Plugin);
    @export(&reallocate, .{ .name = "cabi_realloc" });
    @export(&I.describe, .{ .name = lifecycle ++ "describe" });
    @export(&I.open, .{ .name = lifecycle ++ "open" });
    @export(&I.close, .{ .name = lifecycle ++ "close" });
    @export(&I.exportState, .{ .name = lifecycle ++ "export-state" });
    @export(&I.importState, .{ .name = lifecycle ++ "import-state" });
    @export(&I.process, .{ .name = processor ++ "process" });
    @export(&I.processBatch, .{ .name = processor ++ "process-batch" });
}

/// The one instance of a plugin in this module, and what its last call returned.
fn Instance(comptime Plugin: type) type {
    return struct {
        const info: Info = Plugin.info;
        var parts: [info.outputs.len + 1]Part = @splat(.{});
        var out: Out = .{ .parts = &parts, .outputs = info.outputs };
        var plugin: ?Plugin = null;
        var words: List(u32) = .{};
        var errors: List(u32) = .{};
        var columns_told: List(u32) = .{};
        var told: [13]u32 = @splat(0);

        fn describe() callconv(.c) [*]const u32 {
            words.size = 0;
            columns_told.size = 0;
            for (info.outputs) |one| {
                for (one.columns orelse &.{}) |column| {
                    columns_told.addAll(&pair(column[0]));
                    columns_told.addAll(&pair(column[1]));
                }
            }
            var at: usize = 0;
            for (info.outputs) |one| {
                const size = if (one.columns) |columns| columns.len * 4 else 0;
                const columns = list(columns_told.items()[at..][0..size], 4);
                at += size;
                words.addAll(&pair(one.name));
                words.addAll(&.{ @intFromBool(one.columns != null), columns[0], columns[1], @intFromBool(one.adds) });
            }
            const outputs = list(words.items(), 6);
            errors.size = 0;
            for (info.input orelse &.{}) |column| errors.addAll(&pair(column));
            const flags = [2]u32{ @intFromBool(info.stateful), @intFromBool(info.input != null) };
            told = pair(info.name) ++ pair(info.version) ++ pair(info.settings_schema) ++ flags ++
                list(errors.items(), 2) ++ [1]u32{0} ++ outputs;
            return &told;
        }

        fn open(at: usize, size: usize) callconv(.c) [*]const u32 {
            const settings = begun(at, size);
            defer allocator.free(settings);
            plugin = Plugin.open(.{ .text = settings }, &out) catch |failure| return failed(severe(failure));
            return done();
        }

        fn close() callconv(.c) void {
            if (plugin) |*there| if (@hasDecl(Plugin, "close")) there.close();
            plugin = null;
        }

        fn exportState() callconv(.c) [*]const u32 {
            _ = begun(0, 0);
            if (@hasDecl(Plugin, "exportState")) opened().exportState(&out);
            if (parts[0].text.size == 0) out.raw("null");
            told[0..2].* = pair(parts[0].text.items());
            return &told;
        }

        fn importState(at: usize, size: usize) callconv(.c) [*]const u32 {
            const state = begun(at, size);
            defer allocator.free(state);
            if (@hasDecl(Plugin, "importState")) {
                opened().importState(.{ .text = state }, &out) catch |failure| return failed(severe(failure));
            }
            return done();
        }

        fn process(at: usize, size: usize) callconv(.c) [*]const u32 {
            const record = begun(at, size);
            defer allocator.free(record);
            out.written(opened(), record, 0) catch |failure| return failed(failure);
            words.size = 0;
            for (&parts) |*part| part.before[0] = 0;
            for (out.places.items()) |place| {
                const begin = parts[place].before[0];
                const end = find(parts[place].text.items(), begin, "\n");
                parts[place].before[0] = end + 1;
                words.addAll(&pair(name(place)));
                words.addAll(&pair(parts[place].text.items()[begin..end]));
            }
            const places = out.places.items();
            told[0..4].* = if (places.len == 0) .{ 0, 1, 0, 0 } else if (places.len == 1 and places[0] == 0)
                .{ 0, 0, words.room[2], words.room[3] }
            else
                .{ 0, 3, @intFromPtr(words.room.ptr), places.len };
            return &told;
        }

        fn processBatch(_: u32, rows: u32, at: usize, size: usize) callconv(.c) [*]const u32 {
            const data = begun(at, size);
            defer allocator.free(data);
            errors.size = 0;
            var begin: usize = 0;
            for (0..rows) |row| {
                const end = find(data, begin, "\n");
                const said = out.words.size;
                out.written(opened(), data[begin..end], @intCast(row)) catch |failure| {
                    if (failure != error.Bad) return failedFrom(failure, said);
                    errors.addAll(&.{ row, said, out.words.size - said });
                };
                begin = @min(end + 1, data.len);
                forgetTexts();
            }
            const at_words: u32 = @intFromPtr(out.words.room.ptr);
            for (0..errors.size / 3) |n| errors.room[3 * n + 1] += at_words;
            tellBatch(rows);
            return &told;
        }

        fn tellBatch(rows: u32) void {
            var same = out.places.size == rows and parts[0].sources.size == rows;
            for (parts[0].sources.items(), 0..) |source, row| same = same and source == row;
            words.size = 0;
            for (&parts, 0..) |*part, place| {
                if (place > 0 and (same or name(place).len == 0)) continue;
                words.addAll(&pair(name(place)));
                words.add(part.sources.size);
                words.addAll(&pair(part.text.items()[0 .. part.text.size -| 1]));
                words.add(@intFromBool(!same));
                words.addAll(&list(part.sources.items(), 1));
            }
            told[0..5].* = [1]u32{0} ++ list(words.items(), 8) ++ list(errors.items(), 3);
        }

        fn begun(at: usize, size: usize) []u8 {
            out.clear();
            forgetTexts();
            return taken(at, size);
        }

        fn opened() *Plugin {
            return if (plugin) |*there| there else @panic("the plugin is not open");
        }

        fn name(place: usize) []const u8 {
            return if (place == 0) "" else info.outputs[place - 1].name;
        }

        fn severe(failure: Failure) Failure {
            return if (failure == error.Bad) error.Fatal else failure;
        }

        fn done() [*]const u32 {
            told[0] = 0;
            return &told;
        }

        fn failed(failure: Failure) [*]const u32 {
            return failedFrom(failure, 0);
        }

        fn failedFrom(failure: Failure, begin: usize) [*]const u32 {
            const kind: u32 = switch (failure) {
                error.Bad => 0,
                error.Transient => 1,
                error.Fatal => 2,
            };
            told[0..4].* = [2]u32{ 1, kind } ++ pair(out.words.items()[begin..]);
            return &told;
        }
    };
}
