// The plugin of the golden suite in AssemblyScript: see suite.py.
import { Column, Info, Json, Level, Out, Output, Plugin, Verdict, getState, log, metric, now, register, setState } from "./dataflare";

class Golden extends Plugin {
  rate: f64 = 1;
  seen: i64 = 0;

  constructor() {
    super(new Info("golden", "1.2.3"));
    this.info.settingsSchema = '{"type":"object"}';
    this.info.input = ["id", "kind", "amount", "text", "inside"];
    this.info.outputs = [
      new Output(""),
      new Output("big", [new Column("id", "int64"), new Column("part", "int64")]),
      new Output("added", [new Column("total", "float64")], true),
    ];
    this.info.stateful = true;
  }

  open(settings: Json): string | null {
    const rate = settings.get("rate");
    this.rate = rate ? rate.asNumber() : 1;
    return isNaN(this.rate) ? "rate is no number" : null;
  }

  process(record: Json, out: Out): Verdict {
    this.seen++;
    const kind = record.text("kind");
    if (kind === null) return out.bad("there is no kind");
    const found = record.text("text"), text = found === null ? "" : found;
    const amount = record.get("amount"), number = amount ? amount.asNumber() : NaN;
    if (kind == "copy") {
      out.copy(record);
    } else if (kind == "with") {
      out.copyWith(record, "amount", number * this.rate);
    } else if (kind == "keep") {
      if (isNaN(number)) return out.bad("there is no amount");
      out.extend(record);
      out.field("total", number * this.rate);
      out.end();
    } else if (kind == "drop") {
      out.raw("{}");
      out.emit("big");
      out.raw("{}");
      return Verdict.Drop;
    } else if (kind == "bad") {
      out.raw("{}");
      out.emit("");
      return out.bad("it is bad: " + text);
    } else if (kind == "transient") {
      return out.transient("not now: " + text);
    } else if (kind == "fatal") {
      return out.fatal("never: " + text);
    } else if (kind == "many" || kind == "routes") {
      const outputs = ["big", "", "added"], id = record.get("id")!;
      for (let part = 0; part < 3; part++) {
        out.object();
        out.field("id", id);
        out.field("part", part);
        out.end();
        out.emit(kind == "many" ? "" : outputs[part]);
      }
    } else if (kind == "text") {
      out.object();
      out.field("text", text);
      out.end();
    } else if (kind == "inside") {
      const inside = record.get("inside");
      if (!inside) return out.bad("there is nothing inside");
      const value = inside.get("amount");
      out.raw('{"found":');
      if (value) out.copy(value);
      else out.raw("null");
      out.end();
    } else if (kind == "number") {
      out.object();
      out.field("raw", amount!);
      if (amount!.isInteger()) out.field("whole", amount!.asInteger());
      else out.raw(',"whole":null');
      out.field("number", number);
      out.end();
    } else if (kind == "state") {
      const key = "[" + record.get("id")!.raw() + "]", before = getState(key);
      out.raw('{"before":' + (before === null ? "null" : before) + "}");
      setState(key, amount && !amount.isNull() ? amount.raw() : null);
    } else if (kind == "told") {
      log(Level.Warn, text);
      metric("told", 2.5);
      out.object();
      out.field("now", now());
      out.end();
    } else if (kind == "loop") {
      while (true) this.seen++;
    } else if (kind == "grow") {
      const all: StaticArray<u8>[] = [];
      while (true) all.push(new StaticArray<u8>(1 << 20));
    } else if (kind == "deep") {
      out.value(deep(<u64>this.seen));
    } else if (kind == "panic") {
      throw new Error("it panics: " + text);
    } else if (kind == "bytes") {
      const bytes = memory.data<u8>([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]);
      out.copy(new Json(bytes, 9));
    } else {
      return out.bad("what is " + kind);
    }
    return Verdict.Keep;
  }

  exportState(): string {
    return this.seen.toString();
  }

  importState(state: Json): string | null {
    if (!state.isInteger()) return "the state is no number";
    this.seen = state.asInteger();
    return null;
  }
}

function deep(level: u64): u64 {
  return level ? deep(level + 1) * 3 + level : 1;
}

register(new Golden());
