// Builds the page into the Python package: one folder of static files, the same bytes from the same sources.
//
//   npm ci && npm run build
//
// Files under assets/ are named by their content and may be cached for ever; the few others must be asked for again.

import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "src", "ichor", "serving", "static");

const options = {
  absWorkingDir: here,
  bundle: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  charset: "utf8",
  legalComments: "none", // their licences are written to LICENCES.txt
  metafile: true,
  logLevel: "warning",
  alias: { zarrita: "./stubs/zarrita.cjs" },
};

async function build() {
  await rm(out, { recursive: true, force: true });
  await mkdir(join(out, "assets"), { recursive: true });
  await cp(join(here, "public"), out, { recursive: true });

  const built = await esbuild.build({
    ...options,
    entryPoints: { app: "src/main.tsx", style: "src/style/index.css", theme: "src/theme-first.ts" },
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    splitting: true,
    outdir: join(out, "assets"),
  });
  const byName = {};
  for (const file of Object.keys(built.metafile.outputs)) {
    const path = relative(out, join(here, file)).replaceAll("\\", "/");
    const { entryPoint } = built.metafile.outputs[file];
    if (entryPoint) byName[entryPoint] = path;
  }

  let html = await readFile(join(here, "src", "index.html"), "utf8");
  html = html
    .replace("{{style}}", byName["src/style/index.css"])
    .replace("{{theme}}", byName["src/theme-first.ts"])
    .replace("{{app}}", byName["src/main.tsx"]);
  if (html.includes("{{")) throw new Error("index.html: found a name that no built file fills");
  await writeFile(join(out, "index.html"), html);

  await licences(built.metafile);

  // The service worker keeps this list; its name for the cache changes when any file of the shell does.
  const shell = (await files(out)).filter((path) => !/^(LICENCES\.txt)$/.test(path)).sort();
  const digest = createHash("sha256");
  for (const path of shell) digest.update(path).update(await readFile(join(out, path)));
  await esbuild.build({
    ...options,
    metafile: false,
    format: "iife",
    entryPoints: ["src/sw.ts"],
    outfile: join(out, "sw.js"),
    define: {
      SHELL_VERSION: JSON.stringify(digest.digest("hex").slice(0, 16)),
      SHELL_FILES: JSON.stringify(["./", ...shell.filter((path) => path !== "index.html")]),
    },
  });
  const bytes = await Promise.all((await files(out)).map(async (p) => (await readFile(join(out, p))).length));
  console.log(`${bytes.length} files, ${bytes.reduce((a, b) => a + b, 0).toLocaleString("en")} bytes`);
}

async function files(root) {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((e) => e.isFile()).map((e) => relative(root, join(e.parentPath, e.name)).replaceAll("\\", "/"));
}

/** The licence text of every package that a bundle holds something of. */
async function licences(metafile) {
  const packages = new Set();
  for (const input of Object.keys(metafile.inputs)) {
    const match = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (match) packages.add(match[1]);
  }
  const parts = [];
  for (const name of [...packages].sort()) {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
    // A package that ships without its licence's text has it here, from its repository.
    const path = file ? join(folder, file) : join(here, "licences", `${name}.txt`);
    const text = (await readFile(path, "utf8")).trim();
    parts.push(`${name} ${version} (${license})\n\n${text}\n`);
  }
  await writeFile(join(out, "LICENCES.txt"), parts.join(`\n${"-".repeat(80)}\n\n`));
}

await build();
if (process.argv.includes("--watch")) {
  const { watch } = await import("node:fs");
  let timer;
  watch(join(here, "src"), { recursive: true }, () => {
    clearTimeout(timer);
    timer = setTimeout(() => build().catch((error) => console.error(error.message)), 100);
  });
}
