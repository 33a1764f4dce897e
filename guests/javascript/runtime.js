// The component in which plugins in JavaScript and TypeScript run. It is built once; what the loader made of the file of a
// plugin comes with the settings when it is opened. docs/plugins.md tells what a plugin may export.
import { getState, log, metric, now, setState } from "dataflare:plugin/host@1.1.0";
import { processed } from "./batches.js";
import { described, evaluated } from "./loading.js";
import { BadRecord, Fatal, Routed, Transient, checked, isTransient, tagOf, told } from "./results.js";

let plugin = {};
let packs = false; // whether the host reads numbers as their bytes

const parsed = (text) => (text == null ? undefined : JSON.parse(text));
const shown = (value) => (typeof value === "string" ? value : (JSON.stringify(value) ?? String(value)));
const say = (level) => (...values) => log(level, values.map(shown).join(" "));

globalThis.dataflare = Object.freeze({
  log: (message, level = "info") => log(level, shown(message)),
  metric: (name, value = 1) => metric(String(name), Number(value)),
  now: () => Number(now()),
  getState: (key) => parsed(getState(JSON.stringify(key))),
  setState: (key, value) => setState(JSON.stringify(key), value == null ? undefined : JSON.stringify(value)),
  to: (output, record) => new Routed(String(output), record),
  BadRecord,
  Transient,
  Fatal,
});
globalThis.console = { debug: say("debug"), log: say("info"), info: say("info"), warn: say("warn"), error: say("error") };

const attempted = (work, tag) => {
  try {
    return work();
  } catch (error) {
    throw { tag: tag(error), val: told(error) };
  }
};
const fatal = (error) => (isTransient(error) ? "transient" : "fatal");

export const lifecycle = {
  describe: () => described(plugin),
  open(config) {
    attempted(() => {
      const { code, settings, output, packed } = JSON.parse(config);
      packs = Boolean(packed);
      plugin = evaluated(code);
      if (output) plugin = { ...plugin, output }; // that of the workflow goes before its own
      plugin.open?.(settings);
    }, fatal);
  },
  close() {
    plugin.close?.();
  },
  exportState: () => JSON.stringify(plugin.exportState?.() ?? null),
  importState(state) {
    attempted(() => plugin.importState?.(JSON.parse(state)), fatal);
  },
};

export const processor = {
  process: (value) => attempted(() => outcome(plugin.process(JSON.parse(value))), tagOf),
  processBatch: (batch) => attempted(() => processed(plugin, packs, batch), fatal),
};

const outcome = (result) => {
  const rows = checked(result);
  if (rows.some((row) => row instanceof Routed)) return { tag: "route", val: rows.map(routed) };
  if (Array.isArray(result)) return { tag: "many", val: rows.map((row) => JSON.stringify(row)) };
  return rows.length ? { tag: "keep", val: JSON.stringify(result) } : { tag: "drop" };
};

const routed = (row) =>
  row instanceof Routed
    ? { output: row.output, value: JSON.stringify(row.record) }
    : { output: "", value: JSON.stringify(row) };
