// What a viewer shows, shared by its planes, its strip, its tool bar and its keys.

import { batch, computed, signal } from "@preact/signals";
import { PRESETS, type Preset, type Window } from "../labels";
import { type Outline, outlines } from "./contours";
import type { Source } from "./source";
import {
  type Axis,
  type Filled,
  type Plane,
  type Point,
  type Volume,
  THROUGH,
  centreOf,
  depthOf,
  filledBoxes,
  planeAt,
  slicesAlong,
  withDepth,
} from "./volume";

export type Tool = "scroll" | "window" | "pan" | "zoom" | "length" | "region";

/** A length or an ellipse, in pixels of the plane that it was drawn on. */
export interface Measure {
  kind: "length" | "region";
  axis: Axis;
  depth: number;
  from: [number, number];
  to: [number, number];
}

/** How far a plane is moved (in its own mm) and magnified. */
export interface Pose {
  zoom: number;
  x: number;
  y: number;
}

/** How shown axial slices stand to the exam's own. */
export interface Native {
  source: readonly (number | null)[];
  count: number;
}

export const AT_REST: Pose = { zoom: 1, x: 0, y: 0 };
const MOST_ZOOM = 16;
const LEAST_ZOOM = 0.5;

export class ViewState {
  readonly volume = signal<Volume | null>(null);
  readonly mask = signal<Volume | null>(null);
  readonly source = signal<Source | null>(null);
  /** Counted up where a source asks to be drawn again. */
  readonly again = signal(0);
  /** Subtype colour of region *i* + 1 of the mask. */
  readonly colours = signal<readonly string[]>([]);
  /** Native slice behind each axial one, null for a hole; null where each is its own. */
  readonly native = signal<readonly (number | null)[] | null>(null);
  readonly point = signal<Point>({ x: 0, y: 0, z: 0 });
  readonly window = signal<Window>({ level: 40, width: 80 });
  readonly inverted = signal(false);
  readonly smooth = signal(true);
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

  private nativeCount = 0;
  private heldPicture: boolean | null = null;
  private filled: Record<Axis, Filled> | null = null;
  private filledFor: Volume | null = null;
  private planes = new Map<string, Plane>();
  private lines = new Map<string, Outline[]>();

  /** Show a volume from its middle, in the window that fits what it holds. */
  show(volume: Volume, mask: Volume | null, colours: readonly string[], native: Native | null = null): void {
    this.planes.clear();
    this.lines.clear();
    batch(() => {
      this.volume.value = volume;
      this.mask.value = mask;
      this.colours.value = colours;
      this.point.value = centreOf(volume);
      this.measures.value = [];
      this.native.value = native && native.source.length === volume.size[2] ? native.source : null;
      this.nativeCount = native?.count ?? 0;
      this.resetPoses();
      const picture = volume.unit === "grey";
      // A chosen window is kept from exam to exam; a picture has none to share.
      if (picture || this.heldPicture) this.window.value = this.restingWindow();
      if (picture && this.tool.value === "scroll") this.tool.value = "window";
      else if (!picture && this.heldPicture) this.tool.value = "scroll";
      this.heldPicture = picture;
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
    const kept = Math.max(0, Math.min(slicesAlong(volume, axis) - 1, Math.round(slice)));
    if (kept !== this.slice(axis)) this.point.value = withDepth(this.point.value, axis, kept);
  }

  /** Step by slices; over an uneven stack, where one native slice is shown several times, by native ones. */
  scroll(axis: Axis, by: number): void {
    const native = axis === "axial" ? this.native.value : null;
    if (!native) return this.goTo(axis, this.slice(axis) + by);
    const way = Math.sign(by);
    let at = this.slice(axis);
    for (let left = Math.abs(by); left > 0; left--) {
      let next = at + way;
      while (next >= 0 && next < native.length && native[next] === native[at]) next += way;
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
    const here = native[at];
    return { number: here === null || here === undefined ? null : here + 1, of: this.nativeCount };
  }

  setWindow(window: Window): void {
    const width = Math.max(1, Math.min(8000, Math.round(window.width)));
    const level = Math.max(-2000, Math.min(6000, Math.round(window.level)));
    this.window.value = { level, width };
  }

  zoomBy(axis: Axis, factor: number, aboutX = 0, aboutY = 0): void {
    const pose = this.poses[axis].value;
    const zoom = Math.max(LEAST_ZOOM, Math.min(MOST_ZOOM, pose.zoom * factor));
    const change = zoom / pose.zoom;
    // The place under the pointer (given from the middle of the view, in mm at zoom 1) stays where it is.
    this.poses[axis].value = {
      zoom,
      x: aboutX - (aboutX - pose.x) * change,
      y: aboutY - (aboutY - pose.y) * change,
    };
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
    return volume && remembered(this.planes, `${axis}${slice}`, () => planeAt(volume, axis, slice));
  }

  outlinesOf(axis: Axis, slice: number): readonly Outline[] {
    const mask = this.mask.value;
    if (!mask || slice >= mask.size[THROUGH[axis]]) return [];
    return remembered(this.lines, `${axis}${slice}`, () => outlines(planeAt(mask, axis, slice)));
  }
}

/** Keep the latest few: a reader goes back and forth over the same slices. */
function remembered<T>(kept: Map<string, T>, key: string, make: () => T): T {
  const had = kept.get(key);
  if (had !== undefined) return had;
  const made = make();
  kept.set(key, made);
  if (kept.size > 48) kept.delete(kept.keys().next().value!);
  return made;
}
