// Where in the shown volume the outlined regions lie.

import type { Point, Volume } from "../viewer/volume";

/** Middle of a region in the shown slice where it has most pixels; null where the mask does not hold it. */
export function regionCentre(mask: Volume, region: number): Point | null {
  const [nx, ny, nz] = mask.size;
  let best = { n: 0, z: 0, x: 0, y: 0 };
  for (let z = 0, i = 0; z < nz; z++) {
    let [n, sx, sy] = [0, 0, 0];
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++, i++) {
        if (mask.voxels[i] !== region) continue;
        n++;
        sx += x;
        sy += y;
      }
    }
    if (n > best.n) best = { n, z, x: Math.round(sx / n), y: Math.round(sy / n) };
  }
  return best.n ? { x: best.x, y: best.y, z: best.z } : null;
}

/** Middle of what is nearly as warm as the warmest voxel of a heat map, as a voxel of the volume that it lies over. */
export function warmest(heat: Volume, volume: Volume): Point | null {
  const [nx, ny, nz] = heat.size;
  let most = 0;
  for (const value of heat.voxels) most = Math.max(most, value);
  if (!most) return null;
  let [n, sx, sy, sz] = [0, 0, 0, 0];
  for (let z = 0, i = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++, i++) {
        if (heat.voxels[i]! < 0.9 * most) continue;
        n++;
        sx += x;
        sy += y;
        sz += z;
      }
    }
  }
  const [x, y, z] = [sx, sy, sz].map((sum, axis) => Math.floor(((sum / n + 0.5) * heat.step[axis]!) / volume.step[axis]!));
  return { x: x!, y: y!, z: z! };
}

/** Shown slices that hold something of the mask. */
export function markedSlices(mask: Volume | null): Set<number> {
  const found = new Set<number>();
  if (!mask) return found;
  const [nx, ny, nz] = mask.size;
  for (let z = 0; z < nz; z++) {
    if (mask.voxels.subarray(z * nx * ny, (z + 1) * nx * ny).some((v) => v !== 0)) found.add(z);
  }
  return found;
}
