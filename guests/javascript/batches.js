// Batches: `process` is called for each row in here, as a call into the component costs more than most functions do.
import { columnsOf, recordsOf, othersRefused } from "./columns.js";
import { typesOf } from "./loading.js";
import { Fatal, Routed, Transient, refuse, told } from "./results.js";

export const processed = (plugin, { format, rows, data }) => {
  if (format === "json-lines") {
    if (!plugin.process) throw new Fatal("it exports no process, and processColumns takes columns");
    return each(plugin.process, JSON.parse(`[${data.replaceAll("\n", ",")}]`), lines, () => null);
  }
  const columns = JSON.parse(data);
  if (plugin.processColumns) return whole(plugin, columns, rows);
  const given = Object.keys(columns);
  const wanted = memo((output) => (typesOf(plugin, output) ? Object.keys(typesOf(plugin, output)) : given));
  const adds = (output) => output === "" && !plugin.output && Boolean(plugin.adds); // what it was given may come back
  const allowed = memo((output) => othersRefused(wanted(output), adds(output) ? given : []));
  return each(plugin.process, recordsOf(columns, rows), (records, output) => columnsOf(records, wanted(output)), allowed);
};

const memo = (make) => {
  const found = new Map();
  return (key) => {
    if (!found.has(key)) found.set(key, make(key));
    return found.get(key);
  };
};

// The rows of one output, with the numbers of those that they came of.
class Part {
  constructor(output, judge) {
    this.output = output;
    this.judge = judge;
    this.records = [];
    this.sources = [];
  }

  put(record, source) {
    refuse(record);
    this.judge?.(record);
    this.records.push(record);
    this.sources.push(source);
  }

  // Writes the rows; those that JSON cannot hold are errors.
  written(write, count, errors) {
    let data;
    try {
      data = write(this.records, this.output);
    } catch {
      this.drop(errors);
      data = write(this.records, this.output);
    }
    const { output, records, sources } = this;
    const same = records.length === count && sources.every((source, n) => source === n);
    return { output, rows: records.length, data, sources: same ? undefined : sources };
  }

  drop(errors) {
    const good = this.records.map((record, n) => {
      try {
        JSON.stringify(record);
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

const each = (process, records, write, judges) => {
  const parts = new Map();
  const errors = [];
  const part = (output) => {
    if (!parts.has(output)) parts.set(output, new Part(output, judges(output)));
    return parts.get(output);
  };
  const main = part("");
  const put = (one, n) => {
    if (one instanceof Routed) part(one.output).put(one.record, n);
    else main.put(one, n);
  };
  for (let n = 0; n < records.length; n++) {
    try {
      const result = process(records[n]);
      if (result === null || result === undefined) continue;
      if (Array.isArray(result)) for (const one of result) put(one, n);
      else put(result, n);
    } catch (error) {
      if (error instanceof Transient || error instanceof Fatal) throw error;
      errors.push({ row: n, message: told(error) });
    }
  }
  return { parts: [...parts.values()].map((one) => one.written(write, records.length, errors)), errors };
};

const lines = (records) => records.map((record) => JSON.stringify(record)).join("\n");

const whole = (plugin, columns, rows) => {
  const result = plugin.processColumns(columns, rows) ?? {};
  const lists = Object.entries(result);
  const count = lists.length ? lists[0][1].length : 0;
  for (const [name, list] of lists) {
    if (list.length !== count) throw new Fatal(`processColumns returned ${list.length} values of ${name} and ${count} of ${lists[0][0]}`);
  }
  return { parts: [{ output: "", rows: count, data: JSON.stringify(result), sources: undefined }], errors: [] };
};
