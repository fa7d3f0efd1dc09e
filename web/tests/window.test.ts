// Windows: the greys that the page shows are those of ichor.preparing.windows.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PRESETS } from "../src/labels";
import { GreyTable } from "../src/viewer/window";
import { bytesOf } from "./bytes";
import fixture from "./fixtures/windows.json";

const HU = Int16Array.from({ length: fixture.last_hu - fixture.first_hu + 1 }, (_, i) => fixture.first_hu + i);

function greysOf(level: number, width: number, inverted: boolean): Uint8Array {
  const table = new GreyTable();
  table.set({ level, width }, inverted);
  const pixels = new Uint32Array(HU.length);
  table.apply(HU, pixels);
  const channels = new Uint8Array(pixels.buffer);
  const grey = Uint8Array.from(HU, (_, i) => channels[4 * i]!);
  for (let i = 0; i < HU.length; i++) {
    assert.deepEqual([...channels.subarray(4 * i, 4 * i + 4)], [grey[i], grey[i], grey[i], 255]);
  }
  return grey;
}

for (const [name, window] of Object.entries(fixture.windows)) {
  test(`${name}: the grey of every HU is that of Python`, () => {
    assert.deepEqual(greysOf(window.level, window.width, false), bytesOf(window.greys));
  });
  test(`${name}, inverted: white is black`, () => {
    const [plain, inverted] = [greysOf(window.level, window.width, false), greysOf(window.level, window.width, true)];
    // Rounded both ways, a half may go up twice.
    for (let i = 0; i < HU.length; i++) assert.ok([255, 256].includes(plain[i]! + inverted[i]!));
  });
}

test("every window of Python has a button with its numbers; the page adds the stroke window", () => {
  const own = PRESETS.filter(({ name }) => !(name in fixture.windows));
  assert.deepEqual(
    own.map(({ name, level, width }) => [name, level, width]),
    [["stroke", 40, 40]],
  );
  assert.equal(new Set(PRESETS.map(({ key }) => key)).size, PRESETS.length);
  for (const [name, { level, width }] of Object.entries(fixture.windows)) {
    const preset = PRESETS.find((one) => one.name === name);
    assert.deepEqual({ level: preset?.level, width: preset?.width }, { level, width });
  }
});

test("a table set again shows the new window", () => {
  const table = new GreyTable();
  const shown = new Uint32Array(1);
  table.set({ level: 40, width: 80 }, false);
  table.set({ level: 400, width: 1800 }, false);
  table.apply(Int16Array.of(80), shown);
  assert.notEqual(shown[0], 0xffffffff);
  table.set({ level: 40, width: 80 }, false);
  table.apply(Int16Array.of(80), shown);
  assert.equal(shown[0], 0xffffffff);
});
