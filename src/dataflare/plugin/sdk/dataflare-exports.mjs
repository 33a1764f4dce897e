// For plugins in AssemblyScript, which cannot name its exports freely: gives those of dataflare.ts the names of
// dataflare.wit, and takes all others away. asc --transform dataflare-exports.mjs ...
const NAMES = { dataflare_realloc: "cabi_realloc" };
for (const name of ["describe", "open", "close", "export-state", "import-state"]) {
  NAMES[`dataflare_${name.replace("-", "_")}`] = `dataflare:plugin/lifecycle@1.0.0#${name}`;
}
for (const name of ["process", "process-batch"]) {
  NAMES[`dataflare_${name.replace("-", "_")}`] = `dataflare:plugin/processor@1.0.0#${name}`;
}

export default class {
  afterCompile(module) {
    const found = [];
    for (let n = 0; n < module.getNumExports(); n++) {
      found.push(this.binaryen.getExportInfo(module.getExportByIndex(n)));
    }
    for (const { name, value } of found) {
      if (name === "memory") continue;
      module.removeExport(name);
      if (NAMES[name]) module.addFunctionExport(value, NAMES[name]);
    }
  }
}
