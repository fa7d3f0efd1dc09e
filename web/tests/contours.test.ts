// Outlines of regions: what they enclose is what scipy counts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { outlines, type Pen, trace } from "../src/viewer/contours";
import type { Plane } from "../src/viewer/volume";
import { bytesOf } from "./bytes";
import planes from "./fixtures/regions.json";

/** Holes of fewer pixels are not drawn. */
const SMALLEST_HOLE = 60;

interface Counted {
  pixels: number;
  pieces: number;
  holes: number[];
}

/** Signed area of a closed line; positive around a region, negative around its holes. */
function areaOf(line: readonly number[]): number {
  let twice = 0;
  for (let i = 0; i < line.length; i += 2) {
    const j = (i + 2) % line.length;
    twice += line[i]! * line[j + 1]! - line[j]! * line[i + 1]!;
  }
  return twice / 2;
}

function planeOf({ shape, values }: { shape: number[]; values: string }): Plane {
  return { values: bytesOf(values), height: shape[0]!, width: shape[1]!, columnStep: 1, rowStep: 1 };
}

for (const fixture of planes) {
  test(`${fixture.name}: outlines enclose the pixels, the pieces and the larger holes of each region`, () => {
    const found = outlines(planeOf(fixture));
    const counted: [string, Counted][] = Object.entries(fixture.regions);
    assert.deepEqual(found.map(({ region }) => `${region}`).sort(), counted.map(([region]) => region).sort());
    for (const [region, { pixels, pieces, holes }] of counted) {
      const areas = found.find((one) => `${one.region}` === region)!.lines.map(areaOf);
      const drawn = areas.filter((area) => area < 0).map((area) => -area);
      const small = holes.filter((hole) => hole < SMALLEST_HOLE).reduce((sum, hole) => sum + hole, 0);
      assert.equal(areas.filter((area) => area > 0).length, pieces);
      assert.deepEqual(
        drawn.sort((a, b) => a - b),
        holes.filter((hole) => hole >= SMALLEST_HOLE),
      );
      assert.equal(
        areas.reduce((sum, area) => sum + area, 0),
        pixels + small,
      );
    }
  });
}

test("lines run along the edges of pixels: each step is one pixel across or down", () => {
  for (const fixture of planes) {
    for (const line of outlines(planeOf(fixture)).flatMap(({ lines }) => lines)) {
      for (let i = 0; i < line.length; i += 2) {
        const j = (i + 2) % line.length;
        assert.equal(Math.abs(line[i]! - line[j]!) + Math.abs(line[i + 1]! - line[j + 1]!), 1);
      }
    }
  }
});

test("a plane without regions has no outlines", () => {
  assert.deepEqual(outlines({ values: new Uint8Array(12), width: 4, height: 3, columnStep: 1, rowStep: 1 }), []);
});

test("a traced line goes from the middle of each edge to the next, and closes", () => {
  const steps: number[][] = [];
  const pen: Pen = {
    moveTo: (x, y) => steps.push([x, y]),
    quadraticCurveTo: (cornerX, cornerY, x, y) => steps.push([cornerX, cornerY, x, y]),
    closePath: () => steps.push([]),
  };
  const [square] = outlines({ values: Uint8Array.of(0, 0, 0, 1), width: 2, height: 2, columnStep: 1, rowStep: 1 });
  trace(square!.lines, pen);
  assert.deepEqual(steps, [[1.5, 1], [2, 1, 2, 1.5], [2, 2, 1.5, 2], [1, 2, 1, 1.5], [1, 1, 1.5, 1], []]);
});
