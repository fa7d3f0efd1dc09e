// Outlines of a mask's regions: closed lines along the edges of their pixels, with their corners rounded for the screen.

import type { Plane } from "./volume";

export interface Outline {
  /** Number of the region, from 1. */
  region: number;
  /** Closed lines, each a list of corners x, y, x, y in pixels of the slice; holes run the other way round. */
  lines: number[][];
}

/** Closed lines around every region of a slice of the mask, without its small holes. */
export function outlines(plane: Plane): Outline[] {
  const boxes = boundsByRegion(plane);
  return [...boxes].map(([region, box]) => ({ region, lines: loops(plane, region, box).filter((line) => !isSmallHole(line)) }));
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

const [RIGHT, DOWN, LEFT, UP] = [0, 1, 2, 3] as const;
const DX = [1, 0, -1, 0] as const;
const DY = [0, 1, 0, -1] as const;

/** The directed edges around a region, by the corner that they start from; the region lies on their right. */
class Edges {
  /** One bit a direction. */
  readonly bits: Uint8Array;
  readonly span: number;

  constructor(
    { values, width, height }: Plane,
    region: number,
    readonly box: Box,
  ) {
    this.span = box.right - box.left + 2;
    this.bits = new Uint8Array(this.span * (box.bottom - box.top + 2));
    const inside = (column: number, row: number): boolean =>
      column >= 0 && row >= 0 && column < width && row < height && values[row * width + column] === region;
    for (let row = box.top; row <= box.bottom; row++) {
      for (let column = box.left; column <= box.right; column++) {
        if (!inside(column, row)) continue;
        if (!inside(column, row - 1)) this.add(column, row, RIGHT);
        if (!inside(column + 1, row)) this.add(column + 1, row, DOWN);
        if (!inside(column, row + 1)) this.add(column + 1, row + 1, LEFT);
        if (!inside(column - 1, row)) this.add(column, row + 1, UP);
      }
    }
  }

  /** Take the edge that goes on from a corner; undefined where the loop is closed. */
  take(x: number, y: number, came: number): number | undefined {
    const corner = this.index(x, y);
    // Where two pixels touch by a corner, turn to the right first: they part.
    const direction = [(came + 1) % 4, came, (came + 3) % 4].find((way) => this.bits[corner]! & (1 << way));
    if (direction !== undefined) this.bits[corner]! &= ~(1 << direction);
    return direction;
  }

  private add(x: number, y: number, direction: number): void {
    this.bits[this.index(x, y)]! |= 1 << direction;
  }

  private index(x: number, y: number): number {
    return (y - this.box.top) * this.span + (x - this.box.left);
  }
}

/** Closed loops along a region's edges, each a list of corners x, y, x, y. */
function loops(plane: Plane, region: number, box: Box): number[][] {
  const edges = new Edges(plane, region, box);
  const found: number[][] = [];
  for (let start = 0; start < edges.bits.length; start++) {
    while (edges.bits[start]) {
      let x = box.left + (start % edges.span);
      let y = box.top + Math.floor(start / edges.span);
      const corners: number[] = [];
      const first = Math.log2(edges.bits[start]! & -edges.bits[start]!); // the lowest of its directions
      for (let way = edges.take(x, y, first); way !== undefined; way = edges.take(x, y, way)) {
        corners.push(x, y);
        x += DX[way]!;
        y += DY[way]!;
      }
      found.push(corners);
    }
  }
  return found;
}

/** Holes of fewer pixels are not drawn: they are noise of the map, and their line would hide what is under it. */
const SMALLEST_HOLE = 60;

/** Twice the area that a line encloses, in pixels; negative for a hole, which is walked the other way round. */
function twiceArea(line: readonly number[]): number {
  let twice = 0;
  for (let i = 0; i < line.length; i += 2) {
    const j = (i + 2) % line.length;
    twice += line[i]! * line[j + 1]! - line[j]! * line[i + 1]!;
  }
  return twice;
}

function isSmallHole(line: readonly number[]): boolean {
  const twice = twiceArea(line);
  return twice < 0 && twice > -2 * SMALLEST_HOLE;
}

/** The part of a canvas path that an outline needs. */
export type Pen = Pick<Path2D, "moveTo" | "quadraticCurveTo" | "closePath">;

/** Draw lines with their corners cut: from the middle of each edge to the middle of the next, in curves. */
export function trace(lines: readonly (readonly number[])[], pen: Pen): void {
  for (const line of lines) {
    const n = line.length / 2;
    const x = (i: number): number => line[2 * (i % n)]!;
    const y = (i: number): number => line[2 * (i % n) + 1]!;
    pen.moveTo((x(0) + x(1)) / 2, (y(0) + y(1)) / 2);
    for (let i = 1; i <= n; i++) pen.quadraticCurveTo(x(i), y(i), (x(i) + x(i + 1)) / 2, (y(i) + y(i + 1)) / 2);
    pen.closePath();
  }
}
