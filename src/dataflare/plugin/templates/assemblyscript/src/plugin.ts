import { Column, Info, Json, Out, Output, Plugin, Verdict, register } from "./dataflare";

class Totals extends Plugin {
  private rate: f64 = 1;

  constructor() {
    super(new Info("@NAME@", "0.1.0"));
    // Columns that come out beside those that came in, with their types.
    this.info.outputs = [new Output("", [new Column("total", "float64")], true)];
  }

  /** Is called once, with the settings of the workflow. */
  open(settings: Json): string | null {
    const rate = settings.get("rate");
    if (rate) this.rate = rate.asNumber();
    return isNaN(this.rate) ? "the rate is no number" : null;
  }

  /** Is called with each row. Drop: it is left out; out.bad: `on_error` decides. */
  process(order: Json, out: Out): Verdict {
    const amount = order.number("amount");
    if (isNaN(amount)) return out.bad("there is no amount");
    if (amount < 0) return out.bad("the amount is below zero");
    if (order.text("status") == "cancelled") return Verdict.Drop;
    out.extend(order);
    out.field("total", amount * this.rate);
    out.end();
    return Verdict.Keep;
  }
}

register(new Totals());
