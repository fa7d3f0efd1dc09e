// Lengths and ellipses that a reader draws on a plane, and what they measure.

import type { Axis, Plane, Volume } from "./volume";

/** A length or an ellipse, in pixels of the plane that it was drawn on. */
export interface Measure {
  kind: "length" | "region";
  axis: Axis;
  depth: number;
  from: [number, number];
  to: [number, number];
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

/** What a measure says, line by line: a length; or mean and deviation, range and area. */
export function describe(measure: Measure, plane: Plane, volume: Volume): string[] {
  const across = Math.abs(measure.to[0] - measure.from[0]) * plane.columnStep;
  const down = Math.abs(measure.to[1] - measure.from[1]) * plane.rowStep;
  const unit = volume.scaled ? "mm" : "px";
  if (measure.kind === "length") return [`${Math.hypot(across, down).toFixed(1)} ${unit}`];
  const found = ellipseStatistics(plane, ...measure.from, ...measure.to);
  const area = (Math.PI * across * down) / 4;
  const size = unit === "mm" ? `${(area / 100).toFixed(2)} cm²` : `${area.toFixed(0)} px²`;
  if (!found) return [size];
  return [`${found.mean.toFixed(1)} ± ${found.deviation.toFixed(1)} ${volume.unit}`, `${found.least} to ${found.most}`, size];
}
