// From Hounsfield units to grey: one table a window, so that a slice is one look-up a pixel.

import type { Window } from "../labels";
import type { Plane, Voxels } from "./volume";

const OFFSET = 32768;

export class GreyTable {
  private readonly table = new Uint32Array(65536);
  private key = "";

  /** Set the window; white where `inverted` is black. */
  set({ level, width }: Window, inverted: boolean): void {
    const key = `${level}/${width}/${inverted}`;
    if (key === this.key) return;
    this.key = key;
    const low = level - width / 2;
    const table = this.table;
    const opaque = 0xff000000;
    const first = Math.max(0, Math.min(65536, Math.ceil(low) + OFFSET));
    const last = Math.max(0, Math.min(65536, Math.floor(low + width) + OFFSET + 1));
    table.fill((inverted ? 0x00ffffff : 0) | opaque, 0, first);
    table.fill((inverted ? 0 : 0x00ffffff) | opaque, last);
    for (let i = first; i < last; i++) {
      const share = (i - OFFSET - low) / width;
      const grey = Math.round(255 * Math.max(0, Math.min(1, inverted ? 1 - share : share)));
      table[i] = opaque | (grey << 16) | (grey << 8) | grey;
    }
  }

  /** Write a plane's greys. */
  apply(values: Voxels, to: Uint32Array): void {
    const table = this.table;
    for (let i = 0; i < values.length; i++) to[i] = table[values[i]! + OFFSET]!;
  }
}

export interface Statistics {
  mean: number;
  deviation: number;
  least: number;
  most: number;
  count: number;
}

/** Mean and spread of the pixels whose centres lie in an ellipse that fills a box (in pixels of the plane). */
export function ellipseStatistics(plane: Plane, x0: number, y0: number, x1: number, y1: number): Statistics | null {
  const cx = (x0 + x1) / 2;
  const cy = (y0 + y1) / 2;
  const rx = Math.abs(x1 - x0) / 2;
  const ry = Math.abs(y1 - y0) / 2;
  if (rx === 0 || ry === 0) return null;
  let [count, sum, squares, least, most] = [0, 0, 0, Infinity, -Infinity];
  const top = Math.max(0, Math.floor(cy - ry));
  const bottom = Math.min(plane.height - 1, Math.ceil(cy + ry));
  const left = Math.max(0, Math.floor(cx - rx));
  const right = Math.min(plane.width - 1, Math.ceil(cx + rx));
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) {
      const u = (column + 0.5 - cx) / rx;
      const v = (row + 0.5 - cy) / ry;
      if (u * u + v * v > 1) continue;
      const value = plane.values[row * plane.width + column]!;
      count++;
      sum += value;
      squares += value * value;
      if (value < least) least = value;
      if (value > most) most = value;
    }
  }
  if (!count) return null;
  const mean = sum / count;
  return { mean, deviation: Math.sqrt(Math.max(0, squares / count - mean * mean)), least, most, count };
}
