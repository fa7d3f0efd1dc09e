// Runs the unit tests: bundled by esbuild as the page is, run by Node's own test runner.
//
//   npm test                      all of them
//   npm test -- contours format   some, by name

import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const chosen = process.argv.slice(2);
const names = (await readdir(join(here, "tests")))
  .filter((name) => name.endsWith(".test.ts"))
  .filter((name) => chosen.length === 0 || chosen.includes(name.replace(".test.ts", "")));
if (!names.length) {
  console.error(`web/tests: found no test called ${chosen.join(", ")}`);
  process.exit(1);
}

// Beside the sources, so that packages are found.
const out = await mkdtemp(join(here, "node_modules", ".tests-"));
let status;
try {
  await esbuild.build({
    absWorkingDir: here,
    entryPoints: names.map((name) => `tests/${name}`),
    outdir: out,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    sourcemap: "inline",
    outExtension: { ".js": ".mjs" },
    logLevel: "warning",
  });
  const files = names.map((name) => join(out, name.replace(".ts", ".mjs")));
  status = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=spec", ...files], { stdio: "inherit" }).status;
} finally {
  await rm(out, { recursive: true, force: true });
}
process.exit(status ?? 1);
