//! The plugin of the golden suite in Zig: see suite.py.
const std = @import("std");
const df = @import("dataflare.zig");
pub const panic = df.panic;

const Golden = struct {
    rate: f64,
    seen: i64 = 0,

    pub const info: df.Info = .{
        .name = "golden",
        .version = "1.2.3",
        .settings_schema = "{\"type\":\"object\"}",
        .input = &.{ "id", "kind", "amount", "text", "inside" },
        .outputs = &.{
            .{},
            .{ .name = "big", .columns = &.{ .{ "id", "int64" }, .{ "part", "int64" } } },
            .{ .name = "added", .columns = &.{.{ "total", "float64" }}, .adds = true },
        },
        .stateful = true,
    };

    pub fn open(settings: df.Json, why: *df.Out) df.Failure!Golden {
        const rate = settings.get("rate") orelse return .{ .rate = 1 };
        return .{ .rate = rate.asNumber() orelse return why.bad("rate is no number") };
    }

    pub fn process(self: *Golden, record: df.Json, out: *df.Out) df.Failure!df.Verdict {
        self.seen += 1;
        const id = record.get("id");
        const text = record.string("text") orelse "";
        const word = record.string("kind") orelse return out.bad("there is no kind");
        const kind = std.meta.stringToEnum(Kind, word) orelse return failing(out, error.Bad, "what is ", word);
        switch (kind) {
            .copy => out.copy(record),
            .with => out.copyWith(record, "amount", (record.number("amount") orelse 0) * self.rate),
            .keep => {
                const amount = record.number("amount") orelse return out.bad("there is no amount");
                out.extend(record);
                out.field("total", amount * self.rate);
                out.end();
            },
            .drop => {
                out.raw("{}");
                out.emit("big");
                out.raw("{}");
                return .drop;
            },
            .bad => {
                out.raw("{}");
                out.emit("");
                return failing(out, error.Bad, "it is bad: ", text);
            },
            .transient => return failing(out, error.Transient, "not now: ", text),
            .fatal => return failing(out, error.Fatal, "never: ", text),
            .many, .routes => for ([_][]const u8{ "big", "", "added" }, 0..) |output, part| {
                out.object();
                out.field("id", id);
                out.field("part", part);
                out.end();
                out.emit(if (kind == .many) "" else output);
            },
            .text => {
                out.object();
                out.field("text", text);
                out.end();
            },
            .inside => {
                const inside = record.get("inside") orelse return out.bad("there is nothing inside");
                out.object();
                out.field("found", inside.get("amount"));
                out.end();
            },
            .number => {
                const amount = record.get("amount") orelse return out.bad("there is no amount");
                out.object();
                out.field("raw", amount);
                out.field("whole", amount.asInteger());
                out.field("number", amount.asNumber());
                out.end();
            },
            .state => {
                var room: [64]u8 = undefined;
                const key = std.fmt.bufPrint(&room, "[{s}]", .{id.?.text}) catch return out.bad("the id is long");
                const amount = record.get("amount");
                out.object();
                out.field("before", df.getState(key));
                out.end();
                df.setState(key, if (amount != null and !amount.?.isNull()) amount else null);
            },
            .told => {
                df.log(.warn, text);
                df.metric("told", 2.5);
                out.object();
                out.field("now", df.now());
                out.end();
            },
            .loop => while (true) std.mem.doNotOptimizeAway(self.seen),
            .grow => while (true) {
                const more = std.heap.wasm_allocator.alloc(u8, 1 << 20) catch @panic("out of memory");
                @memset(more, 1);
                std.mem.doNotOptimizeAway(more.ptr);
            },
            .deep => out.value(deep(1)),
            .panic => @panic(text),
            .bytes => out.raw("{\"a\":\"\xff\"}"),
        }
        return .keep;
    }

    pub fn exportState(self: *Golden, out: *df.Out) void {
        out.value(self.seen);
    }

    pub fn importState(self: *Golden, state: df.Json, why: *df.Out) df.Failure!void {
        self.seen = state.asInteger() orelse return why.bad("the state is no number");
    }
};

const Kind = enum { copy, with, keep, drop, bad, transient, fatal, many, routes, text, inside, number, state, told, loop, grow, deep, panic, bytes };

fn failing(out: *df.Out, failure: df.Failure, begin: []const u8, text: []const u8) df.Failure {
    out.say(begin);
    out.say(text);
    return failure;
}

fn deep(level: u64) u64 {
    var here = level;
    std.mem.doNotOptimizeAway(&here);
    return if (here > 0) deep(here + 1) *% 3 +% here else here;
}

comptime {
    df.exportPlugin(Golden);
}
