// What a viewer shows, shared by its planes, its strip, its tool bar and its keys.

import { batch, computed, signal } from "@preact/signals";
import { PRESETS, type Preset, type Window } from "../labels";
import { outlines, trace } from "./contours";
import { AT_REST, zoomed } from "./fit";
import type { Measure } from "./measure";
import type { Source } from "./source";
import {
  type Axis,
  centreOf,
  depthOf,
  type Filled,
  filledBoxes,
  type Plane,
  type Point,
  planeAt,
  slabAt,
  slicesAlong,
  THROUGH,
  type Volume,
  withDepth,
} from "./volume";

export type Tool = "scroll" | "window" | "pan" | "zoom" | "length" | "region";

/** An outline as the canvas draws it, in pixels of its plane. */
export interface Drawn {
  /** Number of the region, from 1. */
  region: number;
  path: Path2D;
}

/** How shown axial slices stand to the exam's own. */
export interface Native {
  source: readonly (number | null)[];
  count: number;
  /** mm along the stack of each native slice, null where it is not known. */
  positions: readonly (number | null)[];
  /** DICOM instance number of each native slice, null where it is not known. */
  instances: readonly (number | null)[];
  /** Kernel and thickness of the slices, as far as they are known. */
  technique?: readonly string[];
  /** Whether left and right are known; where not, no side is named. */
  oriented: boolean;
}

/** What is shown of a study. */
export interface Images {
  volume: Volume;
  mask: Volume | null;
  /** Where the network's map is highest, coarser in the plane than the volume; null where there are outlines. */
  heat?: Volume | null;
  /** What it is: "Heat map", or "Grad-CAM". */
  heatName?: string;
  /** Colour of region *i* + 1 of the mask. */
  colours: readonly string[];
  native: Native | null;
}

/** Signals of one viewer; made once and handed down to whatever shows or changes it. */
export class ViewState {
  readonly volume = signal<Volume | null>(null);
  readonly mask = signal<Volume | null>(null);
  /** Shown in place of outlines where there are none. */
  readonly heat = signal<Volume | null>(null);
  readonly heatName = signal("Heat map");
  readonly source = signal<Source | null>(null);
  /** Counts the times that a source asked to be drawn again. */
  readonly redraws = signal(0);
  /** Subtype colour of region *i* + 1 of the mask. */
  readonly colours = signal<readonly string[]>([]);
  /** Native slice behind each axial one, null for a hole; null where each is its own. */
  readonly native = signal<readonly (number | null)[] | null>(null);
  /** Whether left and right are known; where not, no side is named. */
  readonly oriented = signal(true);
  readonly point = signal<Point>({ x: 0, y: 0, z: 0 });
  readonly window = signal<Window>({ level: 40, width: 80 });
  readonly inverted = signal(false);
  readonly smooth = signal(true);
  /** Thickness in mm of which the brightest voxels are shown; 0 for single slices. */
  readonly slab = signal(0);
  /** Whether the cross is drawn on the large plane too; the small ones always show it. */
  readonly crosshair = signal(false);
  readonly maskShown = signal(true);
  readonly maskOpacity = signal(0.9);
  readonly tool = signal<Tool>("scroll");
  readonly measures = signal<readonly Measure[]>([]);
  readonly poses = { axial: signal(AT_REST), coronal: signal(AT_REST), sagittal: signal(AT_REST) };
  /** The voxel under the pointer, and the plane that it is pointed at on. */
  readonly pointed = signal<{ axis: Axis; point: Point } | null>(null);

  readonly preset = computed<Preset | undefined>(() => {
    const { level, width } = this.window.value;
    return PRESETS.find((preset) => preset.level === level && preset.width === width);
  });

  private stack: Native | null = null;
  private wasPicture: boolean | null = null;
  private filled: Record<Axis, Filled> | null = null;
  private filledFor: Volume | null = null;
  private planes = new Map<string, Plane>();
  private lines = new Map<string, Drawn[]>();

  /** Show a volume from its middle, in the window that fits what it holds. */
  show({ volume, mask, heat, heatName, colours, native }: Images): void {
    this.planes.clear();
    this.lines.clear();
    batch(() => {
      this.volume.value = volume;
      this.mask.value = mask;
      this.heat.value = heat ?? null;
      this.heatName.value = heatName ?? "Heat map";
      this.colours.value = colours;
      this.point.value = centreOf(volume);
      this.measures.value = [];
      this.native.value = native && native.source.length === volume.size[2] ? native.source : null;
      this.stack = native;
      this.oriented.value = native?.oriented ?? false;
      this.resetPoses();
      const picture = volume.unit === "grey";
      // A chosen window is kept from exam to exam; a picture has none to share.
      if (picture || this.wasPicture) this.window.value = this.restingWindow();
      if (picture && this.tool.value === "scroll") this.tool.value = "window";
      else if (!picture && this.wasPicture) this.tool.value = "scroll";
      this.wasPicture = picture;
    });
  }

  resetPoses(): void {
    batch(() => {
      for (const pose of Object.values(this.poses)) pose.value = AT_REST;
    });
  }

  /** Back to how the study opened, but for the slice. */
  reset(): void {
    batch(() => {
      this.resetPoses();
      this.slab.value = 0;
      this.inverted.value = false;
      this.window.value = this.restingWindow();
    });
  }

  restingWindow(): Window {
    if (this.volume.value?.unit === "grey") return { level: 128, width: 256 };
    const { level, width } = PRESETS[0]!;
    return { level, width };
  }

  slice(axis: Axis): number {
    return depthOf(this.point.value, axis);
  }

  goTo(axis: Axis, slice: number): void {
    const volume = this.volume.value;
    if (!volume) return;
    const inside = Math.max(0, Math.min(slicesAlong(volume, axis) - 1, Math.round(slice)));
    if (inside !== this.slice(axis)) this.point.value = withDepth(this.point.value, axis, inside);
  }

  /** Step by slices; over an uneven stack, where one native slice is shown several times, by native ones. */
  scroll(axis: Axis, by: number): void {
    const native = axis === "axial" ? this.native.value : null;
    if (!native) {
      this.goTo(axis, this.slice(axis) + by);
      return;
    }
    const direction = Math.sign(by);
    let at = this.slice(axis);
    for (let left = Math.abs(by); left > 0; left--) {
      let next = at + direction;
      while (next >= 0 && next < native.length && native[next] === native[at]) next += direction;
      if (next < 0 || next >= native.length) break;
      at = next;
    }
    this.goTo(axis, at);
  }

  /** Number of a slice as a person counts, from 1, and of how many; null for a hole in the stack. */
  count(axis: Axis): { number: number | null; of: number } {
    const volume = this.volume.value;
    const at = this.slice(axis);
    const native = axis === "axial" ? this.native.value : null;
    if (!native) return { number: at + 1, of: volume ? slicesAlong(volume, axis) : 0 };
    const behind = native[at];
    return { number: behind === null || behind === undefined ? null : behind + 1, of: this.stack?.count ?? 0 };
  }

  /** Position (mm along the stack) and DICOM instance number of the axial slice shown; null where not known. */
  nativeSlice(): { position: number | null; instance: number | null } {
    const at = this.slice("axial");
    const behind = (this.native.value ? this.native.value[at] : at) ?? -1;
    return { position: this.stack?.positions[behind] ?? null, instance: this.stack?.instances[behind] ?? null };
  }

  technique(): readonly string[] {
    return this.stack?.technique ?? [];
  }

  setWindow(window: Window): void {
    const width = Math.max(1, Math.min(8000, Math.round(window.width)));
    const level = Math.max(-2000, Math.min(6000, Math.round(window.level)));
    this.window.value = { level, width };
  }

  zoomBy(axis: Axis, factor: number, aboutX = 0, aboutY = 0): void {
    const pose = this.poses[axis];
    pose.value = zoomed(pose.value, factor, aboutX, aboutY);
  }

  filledOf(axis: Axis): Filled {
    const volume = this.volume.value!;
    if (this.filledFor !== volume) {
      this.filledFor = volume;
      this.filled = filledBoxes(volume);
    }
    return this.filled![axis];
  }

  planeOf(axis: Axis, slice: number): Plane | null {
    const volume = this.volume.value;
    const n = this.slabSlices(axis);
    return volume && cached(this.planes, `${axis}${slice}/${n}`, () => slabAt(volume, axis, slice, n));
  }

  /** Slices that a slab holds along an axis; 1 without one. */
  slabSlices(axis: Axis): number {
    const volume = this.volume.value;
    return volume?.scaled && this.slab.value > 0 ? Math.max(1, Math.round(this.slab.value / volume.step[THROUGH[axis]])) : 1;
  }

  /** The plane of the heat map over a slice; null where there is none. */
  heatOf(axis: Axis, slice: number): Plane | null {
    const [volume, heat] = [this.volume.value, this.heat.value];
    if (!volume || !heat) return null;
    const through = THROUGH[axis];
    const at = Math.floor((slice * volume.step[through]) / heat.step[through] + 1e-6);
    return planeAt(heat, axis, Math.max(0, Math.min(heat.size[through] - 1, at)));
  }

  outlinesOf(axis: Axis, slice: number): readonly Drawn[] {
    const mask = this.mask.value;
    if (!mask || slice >= mask.size[THROUGH[axis]]) return [];
    return cached(this.lines, `${axis}${slice}`, () =>
      outlines(planeAt(mask, axis, slice)).map(({ region, lines }) => {
        const path = new Path2D();
        trace(lines, path);
        return { region, path };
      }),
    );
  }
}

/** Keep the latest few: a reader goes back and forth over the same slices. */
function cached<T>(cache: Map<string, T>, key: string, make: () => T): T {
  const found = cache.get(key);
  if (found !== undefined) return found;
  const made = make();
  cache.set(key, made);
  if (cache.size > 48) cache.delete(cache.keys().next().value!);
  return made;
}
