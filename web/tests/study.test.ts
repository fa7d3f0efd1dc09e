// What the page of a study finds in a mask and in the probabilities of slices.

import assert from "node:assert/strict";
import { test } from "node:test";
import { markedSlices, regionCentre, warmest } from "../src/study/regions";
import { heatName, likely, locates, regionName, untrustedOf } from "../src/study/subtypes";
import { suspiciousFrom } from "../src/study/suspicious";
import type { Findings, Region, Values } from "../src/types";
import type { Volume } from "../src/viewer/volume";

function maskOf(size: [number, number, number], region: (x: number, y: number, z: number) => number): Volume {
  const voxels = new Uint8Array(size[0] * size[1] * size[2]);
  let i = 0;
  for (let z = 0; z < size[2]; z++) for (let y = 0; y < size[1]; y++) for (let x = 0; x < size[0]; x++) voxels[i++] = region(x, y, z);
  return { voxels, size, step: [1, 1, 5], unit: "HU", scaled: true, frame: null };
}

test("a region's centre lies in the slice where it is largest", () => {
  const box = maskOf([12, 10, 6], (x, y, z) => {
    if (z === 3 && x >= 2 && x <= 8 && y >= 1 && y <= 5) return 2;
    return z === 4 && x === 11 && y === 9 ? 2 : 0;
  });
  assert.deepEqual(regionCentre(box, 2), { x: 5, y: 3, z: 3 });
  assert.equal(regionCentre(box, 1), null);
  assert.deepEqual([...markedSlices(box)], [3, 4]);
  assert.deepEqual([...markedSlices(null)], []);
});

test("the other planes pass through the warmest place of a coarser heat map", () => {
  const volume = { ...maskOf([12, 10, 6], () => 0), step: [0.5, 0.5, 5] as [number, number, number] };
  const heat = {
    ...maskOf([3, 3, 6], (x, y, z) => (x === 1 && y === 2 && z === 4 ? 255 : 90)),
    step: [2, 2, 5] as [number, number, number],
  };
  assert.deepEqual(warmest(heat, volume), { x: 6, y: 10, z: 4 });
  assert.equal(
    warmest(
      maskOf([3, 3, 6], () => 0),
      volume,
    ),
    null,
  );
});

const NONE: Values = { any: null, epidural: null, intraparenchymal: null, intraventricular: null, subarachnoid: null, subdural: null };

test("the next suspicious slice is the nearest in its direction; slices that are not shown are skipped", () => {
  const rows = [0.9, 0.2, 0.8, 0.7, 0.5].map((any, index) => ({
    index,
    display: index === 2 ? null : index * 2,
    position_mm: null,
    probabilities: { ...NONE, any },
  }));
  const thresholds = { ...NONE, any: 0.5 };
  const next = (at: number, direction: 1 | -1): number | null => suspiciousFrom(rows, thresholds, "any", at, direction);
  assert.equal(next(0, 1), 6);
  assert.equal(next(6, 1), 8);
  assert.equal(next(8, 1), null);
  assert.equal(next(6, -1), 0);
  assert.equal(suspiciousFrom(rows, NONE, "any", 0, 1), null);
  assert.equal(suspiciousFrom(rows, { ...NONE, subdural: 0.1 }, "subdural", 0, 1), null);
});

test("a heat map is named after what it is; a model that draws no map has one by Grad-CAM alone", () => {
  const findings = (codes: string[], any: boolean): Findings =>
    ({ positive: { any }, regions: [], warnings: codes.map((code) => ({ code, message: "" })) }) as unknown as Findings;
  assert.equal(heatName(findings(["nothing_outlined"], true)), "Heat map");
  assert.equal(heatName(findings(["model_does_not_locate", "grad_cam"], true)), "Grad-CAM");
  assert.equal(heatName(findings(["model_does_not_locate"], true)), null);
  assert.equal(heatName(findings([], false)), null);
});

test("at most the likely subtypes are named, most probable first, and untrusted ones are marked", () => {
  const subtypes = [
    { label: "epidural", likely: true, trusted: true, reason: null },
    { label: "subarachnoid", likely: false, trusted: true, reason: null },
    { label: "subdural", likely: true, trusted: false, reason: "only 3 patients" },
  ];
  const findings = { subtypes, probabilities: { ...NONE, epidural: 0.6, subarachnoid: 0.9, subdural: 0.7 } } as unknown as Findings;
  assert.deepEqual(
    likely(findings).map(({ label }) => label),
    ["subdural", "epidural"],
  );
  assert.equal(locates({ warnings: [] } as unknown as Findings), true);
  assert.equal(locates({ warnings: [{ code: "model_does_not_locate", message: "" }] } as unknown as Findings), false);
  const untrusted = untrustedOf(findings);
  assert.deepEqual([...untrusted], [["subdural", "only 3 patients"]]);
  const region = (label: string, p: number): Region => ({ label, probabilities: { [label]: p } }) as Region;
  assert.equal(regionName(region("subdural", 0.8), untrusted), "Subdural 0.80, not to be relied on");
  assert.equal(regionName(region("epidural", 0.69), untrusted), "Type not determined");
  assert.equal(regionName({ label: "any", probabilities: {} } as unknown as Region, untrusted), "Type not determined");
});
