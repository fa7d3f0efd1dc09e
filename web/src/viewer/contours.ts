// Outlines of a mask's regions as lines along the edges of their pixels, smoothed once, to be drawn at the screen's sharpness.

import type { Plane } from "./volume";

export interface Outline {
  /** Number of the region, from 1. */
  region: number;
  path: Path2D;
}

/** Closed lines around every region of a slice of the mask, in pixels of that slice. */
export function outlines(plane: Plane): Outline[] {
  const boxes = boundsByRegion(plane);
  return [...boxes].map(([region, box]) => ({ region, path: pathOf(loops(plane, region, box)) }));
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

function boundsByRegion({ values, width, height }: Plane): Map<number, Box> {
  const found = new Map<number, Box>();
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      const value = values[i]!;
      if (value === 0) continue;
      const box = found.get(value);
      if (!box) found.set(value, { left: column, right: column, top: row, bottom: row });
      else {
        if (column < box.left) box.left = column;
        if (column > box.right) box.right = column;
        box.bottom = row;
      }
    }
  }
  return found;
}

/** Walk along the pixels' edges, the region on the right hand; each loop a list of corners x, y, x, y. */
function loops(plane: Plane, region: number, box: Box): number[][] {
  const { values, width, height } = plane;
  const set = (column: number, row: number): boolean =>
    column >= 0 && row >= 0 && column < width && row < height && values[row * width + column] === region;
  // Edges that start at a corner: bit 1 to the right, 2 down, 4 to the left, 8 up.
  const span = box.right - box.left + 2;
  const edges = new Uint8Array(span * (box.bottom - box.top + 2));
  const at = (x: number, y: number): number => (y - box.top) * span + (x - box.left);
  for (let row = box.top; row <= box.bottom; row++) {
    for (let column = box.left; column <= box.right; column++) {
      if (!set(column, row)) continue;
      if (!set(column, row - 1)) edges[at(column, row)]! |= 1;
      if (!set(column + 1, row)) edges[at(column + 1, row)]! |= 2;
      if (!set(column, row + 1)) edges[at(column + 1, row + 1)]! |= 4;
      if (!set(column - 1, row)) edges[at(column, row + 1)]! |= 8;
    }
  }
  const found: number[][] = [];
  const dx = [1, 0, -1, 0];
  const dy = [0, 1, 0, -1];
  for (let start = 0; start < edges.length; start++) {
    while (edges[start]) {
      let x = box.left + (start % span);
      let y = box.top + Math.floor(start / span);
      let way = Math.log2(edges[start]! & -edges[start]!);
      const corners: number[] = [];
      for (;;) {
        const here = at(x, y);
        if (!(edges[here]! & (1 << way))) {
          // Where two pixels touch by a corner, turn to the right first: they part.
          const next = [(way + 1) % 4, way, (way + 3) % 4].find((turn) => edges[here]! & (1 << turn));
          if (next === undefined) break;
          way = next;
        } else if (edges[here]! & (1 << ((way + 1) % 4))) {
          way = (way + 1) % 4;
        }
        edges[here]! &= ~(1 << way);
        corners.push(x, y);
        x += dx[way]!;
        y += dy[way]!;
      }
      found.push(corners);
    }
  }
  return found;
}

/** Pixels under which a hole within a region is not drawn: noise of the map, and a line that would hide what is under it. */
const SMALLEST_HOLE = 60;

/** Whether a line goes around a small hole: walked the other way round than a region's own edge. */
function isSpeck(line: number[]): boolean {
  let twice = 0;
  for (let i = 0; i < line.length; i += 2) {
    const j = (i + 2) % line.length;
    twice += line[i]! * line[j + 1]! - line[j]! * line[i + 1]!;
  }
  return twice < 0 && twice > -2 * SMALLEST_HOLE;
}

/** Cut the corners: lines between the middles of the edges, rounded by curves through them. */
function pathOf(lines: number[][]): Path2D {
  const path = new Path2D();
  for (const line of lines) {
    const n = line.length / 2;
    if (n < 4 || isSpeck(line)) continue;
    const x = (i: number): number => line[2 * (i % n)]!;
    const y = (i: number): number => line[2 * (i % n) + 1]!;
    path.moveTo((x(0) + x(1)) / 2, (y(0) + y(1)) / 2);
    for (let i = 1; i <= n; i++) path.quadraticCurveTo(x(i), y(i), (x(i) + x(i + 1)) / 2, (y(i) + y(i + 1)) / 2);
    path.closePath();
  }
  return path;
}
