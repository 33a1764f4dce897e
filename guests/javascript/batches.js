// Batches: `process` is called for each row in here, as a call into the component costs more than most functions do.
import { listsOf, looped, othersOf, packed, unpacked } from "./columns.js";
import { typesOf } from "./loading.js";
import { BadRecord, Fatal, Routed, isFatal, isTransient, refuse, told } from "./results.js";

export const processed = (plugin, packs, { format, rows, data }) => {
  if (format === "json-lines") {
    if (!plugin.process) throw new Fatal("it exports no process, and processColumns takes columns");
    return each(plugin.process, null, [JSON.parse(`[${data.replaceAll("\n", ",")}]`)], rows, lines);
  }
  const columns = unpacked(JSON.parse(data));
  if (plugin.processColumns) return whole(plugin, packs, columns, rows);
  const given = Object.keys(columns);
  return each(plugin.process, given, Object.values(columns), rows, (part, errors) => {
    const types = typesOf(plugin, part.output);
    const wanted = types ? Object.keys(types) : given;
    const adds = part.output === "" && !plugin.output && Boolean(plugin.adds); // what it was given may come back
    const others = othersOf(part.records, adds ? [...wanted, ...given] : wanted);
    const judge = (n) => {
      if (!others.has(n)) return;
      throw new BadRecord(`process returned ${JSON.stringify(others.get(n))}, which is no column of the output`);
    };
    if (others.size) part.drop(errors, judge);
    return listsOf(part.records, wanted, packs);
  });
};

// The records of one output. `sources` are the numbers of the rows that they came of; null: they are the same.
class Part {
  constructor(output) {
    this.output = output;
    this.records = [];
    this.sources = output === "" ? null : [];
  }

  put(record, row) {
    refuse(record);
    if (this.records.length !== row) this.diverge();
    if (this.sources !== null) this.sources.push(row);
    this.records.push(record);
  }

  // From now on records and rows have different numbers.
  diverge() {
    if (this.sources === null) this.sources = Array.from(this.records.keys());
  }

  // Writes the records; those that JSON cannot hold are errors.
  written(write, count, errors) {
    let data;
    try {
      data = write(this, errors);
    } catch {
      this.drop(errors, (n) => JSON.stringify(this.records[n]));
      data = write(this, errors);
    }
    if (this.records.length !== count) this.diverge();
    const { output, records, sources } = this;
    return { output, rows: records.length, data, sources: sources ?? undefined };
  }

  // Leaves out the records, by their numbers, that a test throws on: they are errors.
  drop(errors, test) {
    this.diverge();
    const good = this.records.map((_, n) => {
      try {
        test(n);
        return true;
      } catch (error) {
        errors.push({ row: this.sources[n], message: told(error) });
        return false;
      }
    });
    this.records = this.records.filter((_, n) => good[n]);
    this.sources = this.sources.filter((_, n) => good[n]);
  }
}

const each = (process, names, lists, count, write) => {
  const main = new Part("");
  const parts = new Map([["", main]]);
  const errors = [];
  const part = (output) => {
    if (!parts.has(output)) parts.set(output, new Part(output));
    return parts.get(output);
  };
  const put = (one, row) => {
    if (one instanceof Routed) part(one.output).put(one.record, row);
    else main.put(one, row);
  };
  const other = (result, row) => {
    if (Array.isArray(result)) for (const one of result) put(one, row);
    else if (result !== null && result !== undefined) put(result, row);
    if (main.records.length !== row + 1) main.diverge();
  };
  const failed = (error, row) => {
    if (isTransient(error) || isFatal(error)) throw error;
    errors.push({ row, message: told(error) });
    main.diverge();
  };
  looped(names)(process, lists, count, main, other, failed);
  return { parts: [...parts.values()].map((one) => one.written(write, count, errors)), errors };
};

const lines = ({ records }) => records.map((record) => JSON.stringify(record)).join("\n");

const whole = (plugin, packs, columns, rows) => {
  const result = plugin.processColumns(columns, rows) ?? {};
  const lists = Object.entries(result);
  const count = lists.length ? lists[0][1].length : 0;
  for (const [name, list] of lists) {
    if (list.length !== count) throw new Fatal(`processColumns returned ${list.length} values of ${name} and ${count} of ${lists[0][0]}`);
  }
  const texts = lists.map(([name, list]) => `${JSON.stringify(name)}:${packed(list, packs)}`);
  return { parts: [{ output: "", rows: count, data: `{${texts.join(",")}}`, sources: undefined }], errors: [] };
};
