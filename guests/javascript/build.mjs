// Builds the two components into the folder that the first argument names, the same bytes every time: node build.mjs FOLDER
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";

const folder = resolve(process.argv[2] ?? "build");
const steady = resolve("build", "steady.so");
const run = (command, given, env = {}) =>
  execFileSync(command, given, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...env } });
const tool = (name) => join("node_modules", ".bin", name);
const PACK = "import lzma, pathlib, sys; pathlib.Path(sys.argv[2]).write_bytes(lzma.compress(pathlib.Path(sys.argv[1]).read_bytes(), preset=9 | lzma.PRESET_EXTREME))";
const parts = [
  ["runtime", "../../src/dataflare/plugin/sdk/dataflare.wit", "plugin", "javascript.wasm", []],
  ["loader", "loader.wit", "loader", "javascript-loader.wasm", ["--opt-size"]],
];

mkdirSync("build", { recursive: true });
mkdirSync(folder, { recursive: true });
run("cc", ["-shared", "-fPIC", "-O1", "-o", steady, "steady.c"]);
for (const [source, wit, world, output, more] of parts) {
  const bundle = join("build", `${source}.js`);
  run(tool("esbuild"), [`${source}.js`, "--bundle", "--format=esm", "--minify", "--keep-names", "--external:dataflare:*",
    "--log-level=error", `--outfile=${bundle}`]);
  const made = join("build", output);
  run(tool("componentize-qjs"), ["--sync", ...more, "-w", wit, "-n", world, "-j", bundle, "-o", made], { LD_PRELOAD: steady });
  run("python3", ["-c", PACK, made, join(folder, `${output}.xz`)]);
}
