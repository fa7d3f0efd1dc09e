// All that is shown of one study. What was loaded of the last few is kept, so that going back and forth is instant.

import { api, fileAddress } from "../api";
import { labelOf } from "../labels";
import type { Findings, Slices, Study } from "../types";
import type { Native } from "../viewer/state";
import { fetchVolume } from "../viewer/nifti";
import type { Volume } from "../viewer/volume";

const KEPT = 3;

export interface Loaded {
  findings: Findings;
  slices: Slices;
  volume: Volume | null;
  mask: Volume | null;
  native: Native;
  /** Subtype colour of each region. */
  colours: string[];
}

const kept = new Map<string, Loaded>();

export async function load(study: Study, signal: AbortSignal, onProgress: (share: number) => void): Promise<Loaded> {
  const had = kept.get(study.id);
  if (had) {
    kept.delete(study.id);
    kept.set(study.id, had);
    return had;
  }
  const picture = study.kind === "picture";
  const voxels = picture
    ? fetchPicture(fileAddress(study.id, "picture.png"), signal)
    : fetchVolume(fileAddress(study.id, "volume.nii.gz"), { signal, onProgress });
  const regions = fetchVolume(fileAddress(study.id, "mask.nii.gz"), { signal }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    return null; // nothing was outlined
  });
  const [findings, slices, volume, mask] = await Promise.all([api.findings(study.id, signal), api.slices(study.id, signal), voxels, regions]);
  const loaded: Loaded = {
    findings,
    slices,
    volume: { ...volume, scaled: volume.unit === "HU" && slices.display.spacing_mm !== null },
    mask: mask && fits(mask, volume) ? mask : null,
    native: { source: slices.display.source, count: findings.n_slices },
    colours: findings.regions.map((region) => labelOf(region.label).colour),
  };
  kept.set(study.id, loaded);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value!);
  return loaded;
}

export function unload(id: string): void {
  kept.delete(id);
}

function fits(mask: Volume, volume: Volume): boolean {
  return mask.size.every((n, i) => n === volume.size[i]);
}

async function fetchPicture(address: string, signal: AbortSignal): Promise<Volume> {
  const answer = await fetch(address, { signal, credentials: "same-origin" });
  if (!answer.ok) throw new Error(`the server answered ${answer.status} for the picture`);
  const image = await createImageBitmap(await answer.blob());
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const voxels = Uint8Array.from({ length: image.width * image.height }, (_, i) => data[4 * i]!);
  return { voxels, size: [image.width, image.height, 1], step: [1, 1, 1], unit: "grey", scaled: false };
}

/** The shown slice where the largest region has most pixels; null where it has none. */
export function regionCentre(mask: Volume, region: number): { x: number; y: number; z: number } | null {
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
