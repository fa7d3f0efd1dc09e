// The state of a viewer: slices, windows, native slices behind shown ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ViewState } from "../src/viewer/state";
import type { Volume } from "../src/viewer/volume";

function volumeOf(slices: number, unit: "HU" | "grey" = "HU"): Volume {
  return { voxels: new Int16Array(16 * slices), size: [4, 4, slices], step: [1, 1, 5], unit, scaled: unit === "HU", frame: null };
}

function showing(volume: Volume, source: (number | null)[] | null = null, count = 0): ViewState {
  const state = new ViewState();
  state.show({
    volume,
    mask: null,
    colours: [],
    native: source && { source, count, positions: [100, 107, 114, 121], instances: [8, 6, null, 2], oriented: true },
  });
  return state;
}

test("slices stay inside the volume", () => {
  const state = showing(volumeOf(6));
  assert.equal(state.slice("axial"), 2);
  state.scroll("axial", 100);
  assert.deepEqual(state.count("axial"), { number: 6, of: 6 });
  state.goTo("axial", -3);
  assert.deepEqual(state.count("axial"), { number: 1, of: 6 });
  state.goTo("coronal", Infinity);
  assert.deepEqual(state.count("coronal"), { number: 4, of: 4 });
});

test("over an uneven stack each step is a native slice, and a hole has no number", () => {
  const state = showing(volumeOf(7), [0, 1, 1, null, 2, 2, 3], 4);
  state.goTo("axial", 0);
  const seen = [state.count("axial").number];
  for (let i = 0; i < 5; i++) {
    state.scroll("axial", 1);
    seen.push(state.count("axial").number);
  }
  assert.deepEqual(seen, [1, 2, null, 3, 4, 4]);
  state.scroll("axial", -2);
  assert.deepEqual(state.count("axial"), { number: null, of: 4 });
});

test("position and instance number are those of the native slice behind the shown one", () => {
  const state = showing(volumeOf(7), [0, 1, 1, null, 2, 2, 3], 4);
  const seen = [0, 1, 2, 3, 4, 6].map((slice) => {
    state.goTo("axial", slice);
    const { position, instance } = state.nativeSlice();
    return [position, instance];
  });
  const nothing = [null, null];
  assert.deepEqual(seen, [[100, 8], [107, 6], [107, 6], nothing, [114, null], [121, 2]]);
  assert.deepEqual(showing(volumeOf(5)).nativeSlice(), { position: null, instance: null });
});

test("no side is known of an exam without orientation, nor of what has no native slices", () => {
  const state = showing(volumeOf(4), [0, 1, 2, 3], 4);
  assert.equal(state.oriented.value, true);
  const native = { source: [0, 1, 2, 3], count: 4, positions: [], instances: [], oriented: false };
  state.show({ volume: volumeOf(4), mask: null, colours: [], native });
  assert.equal(state.oriented.value, false);
  assert.equal(showing(volumeOf(4)).oriented.value, false);
});

test("a slab holds as many slices as its thickness, and none where the scale is not known", () => {
  const state = showing(volumeOf(9)); // 5 mm apart
  assert.equal(state.slabSlices("axial"), 1);
  state.slab.value = 10;
  assert.deepEqual([state.slabSlices("axial"), state.slabSlices("coronal")], [2, 10]);
  state.show({ volume: { ...volumeOf(9), scaled: false }, mask: null, colours: [], native: null });
  assert.equal(state.slabSlices("axial"), 1);
});

test("native slices of another volume are not taken", () => {
  assert.deepEqual(showing(volumeOf(5), [0, 1], 2).count("axial"), { number: 3, of: 5 });
});

test("a chosen window is kept from exam to exam, but not over a picture", () => {
  const state = showing(volumeOf(5));
  state.setWindow({ level: 80, width: 200 });
  state.show({ volume: volumeOf(6), mask: null, colours: [], native: null });
  assert.deepEqual(state.window.value, { level: 80, width: 200 });
  assert.equal(state.preset.value?.name, "subdural");
  state.show({ volume: volumeOf(1, "grey"), mask: null, colours: [], native: null });
  assert.deepEqual(state.window.value, { level: 128, width: 256 });
  assert.equal(state.tool.value, "window");
  state.show({ volume: volumeOf(6), mask: null, colours: [], native: null });
  assert.deepEqual(state.window.value, { level: 40, width: 80 });
  assert.equal(state.tool.value, "scroll");
});

test("windows have bounds, and reset leaves the slice", () => {
  const state = showing(volumeOf(9));
  state.setWindow({ level: 99999, width: -5 });
  assert.deepEqual(state.window.value, { level: 6000, width: 1 });
  state.goTo("axial", 7);
  state.zoomBy("axial", 3);
  state.inverted.value = true;
  state.reset();
  assert.deepEqual(state.window.value, { level: 40, width: 80 });
  assert.equal(state.poses.axial.value.zoom, 1);
  assert.equal(state.inverted.value, false);
  assert.equal(state.slice("axial"), 7);
});
