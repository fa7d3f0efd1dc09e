// Loads all that is shown of one study, and caches it for the last few, so that going back and forth is instant.

import { api, fileAddress } from "../api";
import type { Findings, Slices, Study } from "../types";
import { fetchVolume } from "../viewer/nifti";
import type { Images } from "../viewer/state";
import type { Volume } from "../viewer/volume";
import { heatName, locates, regionColour } from "./subtypes";

export interface Loaded {
  findings: Findings;
  slices: Slices;
  images: Images;
}

const MOST_CACHED = 3;

/** The last few studies that were loaded. */
export class StudyCache {
  private readonly cached = new Map<string, Loaded>();

  /** Fetch a study, or take it from the cache. `onProgress` is given the share of its volume received, 0 to 1. */
  async load(study: Study, signal: AbortSignal, onProgress: (share: number) => void): Promise<Loaded> {
    const found = this.cached.get(study.id);
    const loaded = found ?? (await fetchStudy(study, signal, onProgress));
    this.cached.delete(study.id);
    this.cached.set(study.id, loaded);
    if (this.cached.size > MOST_CACHED) this.cached.delete(this.cached.keys().next().value!);
    return loaded;
  }

  forget(id: string): void {
    this.cached.delete(id);
  }
}

async function fetchStudy(study: Study, signal: AbortSignal, onProgress: (share: number) => void): Promise<Loaded> {
  const voxels =
    study.kind === "picture"
      ? fetchPicture(fileAddress(study.id, "picture.png"), signal)
      : fetchVolume(fileAddress(study.id, "volume.nii.gz"), { signal, onProgress });
  voxels.catch(() => {}); // awaited below, and by then it may have failed
  const findings = await api.findings(study.id, signal);
  const optional = (there: boolean, name: string): Promise<Volume | null> =>
    there ? fetchVolume(fileAddress(study.id, name), { signal }).catch(() => null) : Promise.resolve(null);
  const [slices, volume, mask, heat] = await Promise.all([
    api.slices(study.id, signal),
    voxels,
    optional(findings.assessable && locates(findings), "mask.nii.gz"),
    optional(heatName(findings) !== null, "heat.nii.gz"), // of a study from before heat maps were kept there is none
  ]);
  signal.throwIfAborted();
  const images = {
    volume: {
      ...volume,
      scaled: volume.unit === "HU" && slices.display.spacing_mm !== null,
      frame: slices.display.orientation_known ? volume.frame : null,
    },
    mask: mask && fits(mask, volume) ? mask : null,
    heat: heat?.size[2] === volume.size[2] ? heat : null,
    heatName: heatName(findings) ?? "Heat map",
    colours: findings.regions.map((region) => regionColour(region)),
    native: {
      source: slices.display.source,
      count: findings.n_slices,
      positions: slices.slices.map((slice) => slice.position_mm),
      instances: slices.display.instances ?? [],
      technique: techniqueOf(slices.display.acquisition),
      oriented: slices.display.orientation_known,
    },
  };
  return { findings, slices, images };
}

function techniqueOf(acquisition: Record<string, string>): string[] {
  const [kernel, thickness] = [acquisition["kernel"], acquisition["slice thickness"]];
  return [...(kernel ? [`Kernel ${kernel}`] : []), ...(thickness ? [`Thickness ${thickness}`] : [])];
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
  return { voxels, size: [image.width, image.height, 1], step: [1, 1, 1], unit: "grey", scaled: false, frame: null };
}
