// The core's tests on CPython in WebAssembly, where no interpreter of that version is installed.
//
//     node --stack-size=30000 tests/pyodide/run.mjs MODULES PACKAGES [argument of pytest ...]
//
// MODULES is a folder with pyodide in node_modules, PACKAGES one with what the tests import.
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [modules, packages, ...args] = process.argv.slice(2);
const repository = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const found = createRequire(join(resolve(modules), "x.js")).resolve("pyodide/package.json");
const { loadPyodide } = await import(pathToFileURL(join(dirname(found), "pyodide.mjs")));

const python = await loadPyodide();
for (const [place, root] of [["/repository", repository], ["/packages", resolve(packages)]]) {
  python.FS.mkdirTree(place);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, place);
}
const junit = process.env.JUNIT_XML;
if (junit) {
  mkdirSync(dirname(resolve(junit)), { recursive: true });
  python.FS.mkdirTree("/totals");
  python.FS.mount(python.FS.filesystems.NODEFS, { root: dirname(resolve(junit)) }, "/totals");
  args.push(`--junit-xml=/totals/${junit.split("/").pop()}`);
}
python.globals.set("arguments", python.toPy(args));
process.exit(
  python.runPython(`
import sys
sys.dont_write_bytecode = True
sys.path[:0] = ["/repository/middleware", "/repository/adapters", "/repository", "/packages"]
import os
os.chdir("/repository")
from tests.pyodide.inside import main
main(list(arguments))
`),
);
