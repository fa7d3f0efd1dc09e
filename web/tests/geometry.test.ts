// Planes of a volume, and where their pixels lie on the screen.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AT_REST, fitOf, zoomed } from "../src/viewer/fit";
import { describe, ellipseStatistics, type Measure } from "../src/viewer/measure";
import {
  AXES,
  centreOf,
  depthOf,
  filledBoxes,
  fromPlane,
  type Point,
  planeAt,
  slabAt,
  slicesAlong,
  toPlane,
  type Volume,
  valueAt,
  withDepth,
} from "../src/viewer/volume";
import planes from "./fixtures/measures.json";

const SIZE = [7, 5, 4] as const;

function counting(): Volume {
  const voxels = Int16Array.from({ length: SIZE[0] * SIZE[1] * SIZE[2] }, (_, i) => i);
  return { voxels, size: [...SIZE], step: [0.5, 0.75, 3], unit: "HU", scaled: true, frame: null };
}

const points: Point[] = [
  { x: 0, y: 0, z: 0 },
  { x: 6, y: 4, z: 3 },
  { x: 2, y: 3, z: 1 },
];

for (const axis of AXES) {
  test(`${axis}: a voxel is drawn where toPlane says, and found again by fromPlane`, () => {
    const volume = counting();
    for (const point of points) {
      const plane = planeAt(volume, axis, depthOf(point, axis));
      const { column, row } = toPlane(volume, axis, point);
      assert.equal(plane.values[Math.floor(row) * plane.width + Math.floor(column)], valueAt(volume, point));
      assert.deepEqual(fromPlane(volume, axis, column, row, withDepth(point, axis, depthOf(point, axis))), point);
    }
    assert.equal(planeAt(volume, axis, 0).values.length * slicesAlong(volume, axis), volume.voxels.length);
  });
}

for (const axis of AXES) {
  test(`${axis}: a slab holds the brightest voxel of its slices, fewer at the ends`, () => {
    const volume = counting();
    for (const [i, hu] of [37, -5, 12].entries()) volume.voxels[(i * SIZE[1] + 2) * SIZE[0] + 3 + i] = 1000 + hu;
    const last = slicesAlong(volume, axis) - 1;
    for (const n of [1, 2, 3, 4]) {
      for (const index of [0, 1, last]) {
        const slab = slabAt(volume, axis, index, n);
        const from = Math.max(0, index - Math.floor((n - 1) / 2));
        const slices = Array.from({ length: Math.min(last, index + Math.floor(n / 2)) - from + 1 }, (_, i) =>
          planeAt(volume, axis, from + i),
        );
        const brightest = Int16Array.from(slab.values, (_, i) => Math.max(...slices.map(({ values }) => values[i]!)));
        assert.deepEqual(slab.values, brightest);
      }
    }
    const before = volume.voxels.slice();
    slabAt(volume, axis, 1, 3);
    assert.deepEqual(volume.voxels, before); // an axial plane is a view of the volume
  });
}

test("the head is up and the patient's left at the right", () => {
  const volume = counting();
  assert.ok(toPlane(volume, "coronal", { x: 0, y: 0, z: 3 }).row < toPlane(volume, "coronal", { x: 0, y: 0, z: 0 }).row);
  assert.ok(toPlane(volume, "sagittal", { x: 0, y: 0, z: 3 }).row < toPlane(volume, "sagittal", { x: 0, y: 0, z: 0 }).row);
  // x grows to the left of the patient, who is seen from the feet.
  assert.ok(toPlane(volume, "axial", { x: 6, y: 0, z: 0 }).column > toPlane(volume, "axial", { x: 0, y: 0, z: 0 }).column);
  assert.deepEqual(planeAt(volume, "sagittal", 0).columnStep, 0.75);
});

test("outside of the volume there is no value, and a place beyond the edge is the edge's", () => {
  const volume = counting();
  assert.equal(valueAt(volume, { x: 7, y: 0, z: 0 }), undefined);
  assert.deepEqual(fromPlane(volume, "axial", -3, 99, { x: 1, y: 1, z: 2 }), { x: 0, y: 4, z: 2 });
  assert.deepEqual(centreOf(volume), { x: 3, y: 2, z: 1 });
});

test("at rest the head fits the canvas, its middle in the middle, and pixels keep their shape", () => {
  const size = [80, 100, 8] as const;
  const voxels = new Int16Array(size[0] * size[1] * size[2]).fill(-1000);
  for (let z = 0; z < size[2]; z++) {
    for (let y = 30; y < 80; y++) for (let x = 20; x < 60; x++) voxels[(z * size[1] + y) * size[0] + x] = 40;
  }
  const volume: Volume = { voxels, size: [...size], step: [0.5, 1, 5], unit: "HU", scaled: true, frame: null };
  const filled = filledBoxes(volume);
  assert.deepEqual(filled.axial, { left: 12, right: 65, top: 24, bottom: 85 }); // looked at every 4 voxels, with 8 to spare
  const plane = planeAt(volume, "axial", 0);
  const fit = fitOf(plane, filled.axial, 600, 400, AT_REST);
  assert.ok(Math.abs(fit.left + ((12 + 65) / 2) * fit.columnScale - 300) < 1e-9);
  assert.ok(Math.abs(fit.top + ((24 + 85) / 2) * fit.rowScale - 200) < 1e-9);
  assert.ok(Math.abs(fit.rowScale / fit.columnScale - 2) < 1e-12);
  assert.ok((65 - 12) * fit.columnScale <= 600 && (85 - 24) * fit.rowScale <= 400);
});

test("what is magnified about stays where it is, and magnification has bounds", () => {
  const plane = planeAt(counting(), "axial", 0);
  const filled = { left: 0, right: 7, top: 0, bottom: 5 };
  const before = fitOf(plane, filled, 300, 200, AT_REST);
  const about = { x: 40, y: -25 }; // CSS pixels from the middle
  const pose = zoomed(AT_REST, 1.7, about.x / before.perMm, about.y / before.perMm);
  const after = fitOf(plane, filled, 300, 200, pose);
  const columnAt = (fit: typeof after): number => (150 + about.x - fit.left) / fit.columnScale;
  const rowAt = (fit: typeof after): number => (100 + about.y - fit.top) / fit.rowScale;
  assert.ok(Math.abs(columnAt(before) - columnAt(after)) < 1e-9);
  assert.ok(Math.abs(rowAt(before) - rowAt(after)) < 1e-9);
  assert.equal(zoomed(AT_REST, 1000, 0, 0).zoom, 16);
  assert.equal(zoomed(AT_REST, 0, 0, 0).zoom, 0.5);
});

for (const fixture of planes) {
  test("means and deviations in ellipses are numpy's", () => {
    const plane = {
      values: Int16Array.from(fixture.values),
      height: fixture.shape[0]!,
      width: fixture.shape[1]!,
      columnStep: 0.5,
      rowStep: 0.5,
    };
    for (const { box, count, mean, deviation, least, most } of fixture.ellipses) {
      const found = ellipseStatistics(plane, ...(box as [number, number, number, number]))!;
      assert.deepEqual([found.count, found.least, found.most], [count, least, most]);
      assert.ok(Math.abs(found.mean - mean) < 1e-6 && Math.abs(found.deviation - deviation) < 1e-6);
    }
    assert.equal(ellipseStatistics(plane, 3, 3, 3, 9), null);
  });
}

test("a length is in mm where the scale is known, in pixels where it is not", () => {
  const volume = counting();
  const measure: Measure = { kind: "length", axis: "axial", depth: 0, from: [1, 1], to: [5, 3] };
  const plane = planeAt(volume, "axial", 0);
  assert.deepEqual(describe(measure, plane, volume), [`${Math.hypot(4 * 0.5, 2 * 0.75).toFixed(1)} mm`]);
  assert.deepEqual(describe(measure, { ...plane, columnStep: 1, rowStep: 1 }, { ...volume, scaled: false }), ["4.5 px"]);
});
