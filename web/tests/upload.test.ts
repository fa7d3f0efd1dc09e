// How what was chosen is sorted into uploads.

import assert from "node:assert/strict";
import { test } from "node:test";
import { grouped } from "../src/upload/collect";
import { hashOf } from "../src/upload/unfinished";

function chosen(...paths: string[]) {
  return paths.map((path) => ({ path, file: new File(["x"], path.split("/").at(-1)!) }));
}

test("a folder, a zip or a volume is an upload of its own; loose files are one", () => {
  const groups = grouped(chosen("a/1.dcm", "a/b/2.dcm", "c/1.dcm", "x.zip", "y.nii.gz", "1.dcm", "2.dcm"));
  assert.deepEqual(
    groups.map(({ title, files }) => [title, files.map(({ path }) => path)]),
    [
      ["a", ["a/1.dcm", "a/b/2.dcm"]],
      ["c", ["c/1.dcm"]],
      ["x.zip", ["x.zip"]],
      ["y.nii.gz", ["y.nii.gz"]],
      ["2 files", ["1.dcm", "2.dcm"]],
    ],
  );
  assert.deepEqual(grouped([]), []);
});

test("a file is recognised by path and size, and its name is not stored", () => {
  const hash = hashOf("DOE_JANE/1.dcm", 512);
  assert.equal(hash, hashOf("DOE_JANE/1.dcm", 512));
  assert.match(hash, /^[0-9a-z]{12,14}$/);
  const others = [hashOf("DOE_JANE/1.dcm", 513), hashOf("DOE_JANE/2.dcm", 512), hashOf("1.dcm", 512)];
  assert.ok(!others.includes(hash));
});
