const std = @import("std");
const df = @import("dataflare.zig");
pub const panic = df.panic;

const Totals = struct {
    rate: f64 = 1,

    pub const info: df.Info = .{
        .name = "@NAME@",
        .version = "0.1.0",
        // Columns that come out beside those that came in, with their types.
        .outputs = &.{.{ .columns = &.{.{ "total", "float64" }}, .adds = true }},
    };

    /// Is called once, with the settings of the workflow.
    pub fn open(settings: df.Json, why: *df.Out) df.Failure!Totals {
        const rate = settings.get("rate") orelse return .{};
        return .{ .rate = rate.asNumber() orelse return why.bad("the rate is no number") };
    }

    /// Is called with each row. drop: it is left out; `bad`: `on_error` decides.
    pub fn process(self: *Totals, order: df.Json, out: *df.Out) df.Failure!df.Verdict {
        const amount = order.number("amount") orelse return out.bad("there is no amount");
        if (amount < 0) return out.bad("the amount is below zero");
        const status = order.string("status") orelse "";
        if (std.mem.eql(u8, status, "cancelled")) return .drop;
        out.extend(order);
        out.field("total", amount * self.rate);
        out.end();
        return .keep;
    }
};

comptime {
    df.exportPlugin(Totals);
}
