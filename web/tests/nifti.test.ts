// Volumes as the server writes them, read as the page does; positions and values are those of Python.

import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { BrokenVolume, fetchVolume, parseVolume } from "../src/viewer/nifti";
import { type Point, toPatient, type Volume, valueAt } from "../src/viewer/volume";
import { bytesOf } from "./bytes";
import volumes from "./fixtures/volumes.json";

function* voxelsOf({ size: [nx, ny, nz] }: Volume): Generator<Point> {
  for (let z = 0; z < nz; z++) for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) yield { x, y, z };
}

for (const exam of volumes.exams) {
  test(`${exam.name}: every voxel lies where the exam has it, to 1e-4 mm`, () => {
    const volume = parseVolume(bytesOf(exam.nifti).buffer);
    assert.deepEqual(volume.size, exam.size);
    for (const [i, step] of volume.step.entries()) assert.ok(Math.abs(step - exam.step[i]!) < 1e-6);
    let found = 0;
    for (const point of voxelsOf(volume)) {
      const hu = valueAt(volume, point)!;
      if (hu === exam.air) continue; // where slices of a tilted gantry were moved away
      found++;
      const expected = exam.patient_mm[hu]!; // voxels count from 0
      const place = toPatient(volume, point)!;
      const away = Math.hypot(...place.map((mm, k) => mm - expected[k]!));
      assert.ok(away < 1e-4, `voxel ${hu}: found ${place}; expected ${expected}`);
    }
    assert.equal(found, exam.patient_mm.length);
  });
}

for (const [name, file] of Object.entries(volumes.stored.files)) {
  test(`stored as ${name}: turned to the left, the back and the head`, () => {
    const volume = parseVolume(bytesOf(file).buffer);
    assert.deepEqual(volume.size, volumes.stored.size);
    assert.deepEqual([...volume.voxels], volumes.stored.voxels);
    const { origin, directions } = volume.frame!;
    for (let k = 0; k < 3; k++) {
      assert.ok(Math.abs(volume.step[k]! - volumes.stored.step[k]!) < 1e-5);
      assert.ok(Math.abs(origin[k]! - volumes.stored.origin[k]!) < 1e-4);
      assert.ok(Math.abs(directions[k]![k]! - 1) < 1e-6);
    }
  });
}

test("packed and unpacked, a fetched volume is the same, and its share is reported", async () => {
  const bytes = bytesOf(volumes.exams[0]!.nifti);
  const expected = parseVolume(bytes.slice().buffer);
  for (const content of [bytes, gzipSync(bytes)]) {
    const shares: number[] = [];
    const address = URL.createObjectURL(new Blob([content]));
    const volume = await fetchVolume(address, { onProgress: (share) => shares.push(share) });
    URL.revokeObjectURL(address);
    assert.deepEqual(volume, expected);
    assert.equal(shares.at(-1), 1);
  }
});

test("a file without a place in the patient has none", () => {
  const bytes = bytesOf(volumes.exams[0]!.nifti);
  const view = new DataView(bytes.buffer);
  view.setInt16(252, 0, true);
  view.setInt16(254, 0, true);
  const volume = parseVolume(bytes.buffer);
  assert.equal(volume.frame, null);
  assert.equal(toPatient(volume, { x: 0, y: 0, z: 0 }), null);
});

test("broken volumes are refused with a reason", () => {
  const whole = bytesOf(volumes.exams[0]!.nifti);
  const broken = (change: (view: DataView) => void): ArrayBuffer => {
    const copy = whole.slice();
    change(new DataView(copy.buffer));
    return copy.buffer;
  };
  const refusals: [ArrayBuffer, RegExp][] = [
    [whole.slice(0, 200).buffer, /shorter than its header/],
    [broken((view) => view.setInt32(0, 540, true)), /no NIfTI-1/],
    [whole.slice(0, -10).buffer, /ends before its last slice/],
    [broken((view) => view.setInt16(70, 1792, true)), /type 1792/],
    [broken((view) => view.setFloat32(280, view.getFloat32(284, true), true)), /right angles/],
  ];
  for (const [buffer, reason] of refusals) {
    assert.throws(
      () => parseVolume(buffer),
      (error: unknown) => error instanceof BrokenVolume && reason.test(error.message),
    );
  }
});
