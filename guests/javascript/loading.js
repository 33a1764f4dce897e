// Makes a plugin of what the loader made of its file.

const FUNCTIONS = ["open", "close", "process", "processColumns", "exportState", "importState"];
const NAMES = [...FUNCTIONS, "name", "version", "settings", "input", "output", "adds", "outputs"];

export const evaluated = (code) => {
  const { default: main, ...others } = (0, eval)(`(function () {"use strict";\n${code}\n})`)();
  return checked(typeof main === "function" ? { process: main, ...others } : { ...main, ...others });
};

const checked = (exported) => {
  const plugin = Object.fromEntries(NAMES.map((name) => [name, exported[name]]));
  for (const name of FUNCTIONS) {
    if (plugin[name] !== undefined && typeof plugin[name] !== "function") {
      throw new Error(`it exports ${name}, which is no function`);
    }
  }
  if (!plugin.process && !plugin.processColumns) throw new Error("it exports neither process nor processColumns");
  return plugin;
};

// Returns the types of the columns of an output that the plugin makes itself; undefined: those that came in.
export const typesOf = (plugin, output) => (output === "" ? (plugin.output ?? plugin.adds) : plugin.outputs?.[output]);

const columns = (types) => (types ? Object.entries(types).map(([name, kind]) => ({ name, kind: String(kind) })) : undefined);

export const described = (plugin) => {
  const outputs = Object.keys(plugin.outputs ?? {});
  if (typesOf(plugin, "")) outputs.unshift("");
  return {
    name: String(plugin.name ?? ""),
    version: String(plugin.version ?? ""),
    configSchema: JSON.stringify(plugin.settings ?? {}),
    stateful: plugin.exportState !== undefined,
    input: plugin.input?.map(String),
    format: plugin.processColumns || plugin.input ? "json-columns" : "json-lines",
    outputs: outputs.map((name) => ({
      name,
      columns: columns(typesOf(plugin, name)),
      adds: name === "" && !plugin.output && Boolean(plugin.adds),
    })),
  };
};
