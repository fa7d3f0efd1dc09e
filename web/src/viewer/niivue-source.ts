// NiiVue as the source of a plane's greys. One instance holds the volume on the graphics card and draws whichever plane is
// asked for on a canvas that nobody sees; the plane's own canvas takes the picture over and draws outlines, cross and
// measures on it. So three planes, each with its own zoom, share one copy of the volume.

import { Niivue, NVImage, SLICE_TYPE } from "@niivue/niivue";
import type { Window } from "../labels";
import type { Scene, Source } from "./source";
import { type Axis, slicesAlong, type Volume } from "./volume";

const SLICE: Record<Axis, SLICE_TYPE> = {
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
};
/** Voxels that a phone's graphics memory is asked to hold; beyond, every second column and row is left out. */
const MOST_ON_PHONE = 24e6;
/** A new window costs a pass over the volume: once it takes longer than a frame, it is asked for less often. */
const FRAME_MS = 24;

export class NiivueSource implements Source {
  readonly name = "niivue";
  private readonly canvas = document.createElement("canvas");
  private readonly niivue: Niivue;
  private volume: Volume | null = null;
  private shownWindow = "";
  private costMs = 0;
  private setAt = 0;
  private late = 0;

  private constructor(private readonly redraw: () => void) {
    document.createElement("div").append(this.canvas); // NiiVue colours its parent
    this.niivue = new Niivue({
      interactive: false, // the page has its own pointer and keys
      isResizeCanvas: false,
      isColorbar: false,
      isOrientationTextVisible: false,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      crosshairWidth: 0,
      show3Dcrosshair: false,
      isSliceMM: true,
      dragAndDropEnabled: false,
      backColor: [0, 0, 0, 1],
      loadingText: "",
      logLevel: "error",
    });
  }

  static async open(redraw: () => void): Promise<NiivueSource> {
    const source = new NiivueSource(redraw);
    await source.niivue.attachToCanvas(source.canvas, false);
    return source;
  }

  /** Hand a volume to the graphics card. */
  async show(volume: Volume, window: Window, inverted: boolean, signal: AbortSignal): Promise<void> {
    const small = Math.min(screen.width, screen.height) < 600 && volume.voxels.length > MOST_ON_PHONE;
    const url = niftiOf(small ? halved(volume) : volume);
    const image = await NVImage.loadFromUrl({ url, name: "study.nii", colormap: "gray", ...range(window) });
    if (signal.aborted) return;
    image.colormapInvert = inverted;
    while (this.niivue.volumes.length) this.niivue.removeVolumeByIndex(0);
    this.niivue.addVolume(image);
    this.shownWindow = windowKey(window, inverted);
    this.volume = volume;
  }

  draw(context: CanvasRenderingContext2D, scene: Scene): boolean {
    const { volume, axis, plane, fit, ratio, point, smooth } = scene;
    if (volume !== this.volume) return false;
    const { niivue, canvas } = this;
    this.setWindow(scene.window, scene.inverted);
    if (canvas.width !== context.canvas.width || canvas.height !== context.canvas.height) {
      canvas.width = context.canvas.width;
      canvas.height = context.canvas.height;
    }
    // NiiVue fits the whole plane into its canvas, magnifies about the volume's middle (the origin, see niftiOf), and has
    // moved by patient millimetres (to the right, the front, the head) before.
    const [width, height] = [canvas.width / ratio, canvas.height / ratio];
    const [wide, high] = [plane.width * plane.columnStep, plane.height * plane.rowStep];
    const whole = Math.min(width / wide, height / high);
    const across = (fit.left + (wide / 2) * fit.perMm - width / 2) / whole;
    const up = (height / 2 - fit.top - (high / 2) * fit.perMm) / whole;
    const zoom = fit.perMm / whole;
    niivue.scene.pan2Dxyzmm =
      axis === "axial" ? [-across, up, 0, zoom] : axis === "coronal" ? [-across, 0, up, zoom] : [0, -across, up, zoom];
    const share = (index: number, n: number): number => (index + 0.5) / n;
    niivue.scene.crosshairPos = [
      1 - share(point.x, slicesAlong(volume, "sagittal")),
      1 - share(point.y, slicesAlong(volume, "coronal")),
      share(point.z, slicesAlong(volume, "axial")),
    ];
    niivue.opts.sliceType = SLICE[axis];
    if (niivue.opts.isNearestInterpolation === smooth) niivue.setInterpolation(!smooth);
    niivue.drawScene();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(canvas, 0, 0);
    return true;
  }

  close(): void {
    clearTimeout(this.late);
    this.niivue.gl.getExtension("WEBGL_lose_context")?.loseContext();
    this.niivue.cleanup();
  }

  private setWindow(window: Window, inverted: boolean): void {
    const key = windowKey(window, inverted);
    const image = this.niivue.volumes[0];
    if (key === this.shownWindow || !image) return;
    const wait = this.costMs > FRAME_MS ? this.setAt + 2 * this.costMs - performance.now() : 0;
    const stale = this.late !== 0; // a plane was drawn with the former window
    clearTimeout(this.late);
    this.late = 0;
    if (wait > 0) {
      this.late = self.setTimeout(() => {
        this.late = 0;
        this.redraw();
      }, wait);
      return;
    }
    const began = performance.now();
    Object.assign(image, range(window));
    image.colormapInvert = inverted;
    this.niivue.refreshLayers(image, 0);
    this.niivue.gl.finish();
    this.setAt = performance.now();
    this.costMs = this.setAt - began;
    this.shownWindow = key;
    if (stale) this.redraw();
  }
}

function range({ level, width }: Window): { cal_min: number; cal_max: number } {
  return { cal_min: level - width / 2, cal_max: level + width / 2 };
}

function windowKey({ level, width }: Window, inverted: boolean): string {
  return `${level}/${width}/${inverted}`;
}

/** Every second column and row, for a small screen. */
function halved(volume: Volume): Volume {
  const [nx, ny, nz] = volume.size;
  const [wide, high] = [Math.ceil(nx / 2), Math.ceil(ny / 2)];
  const voxels = new Int16Array(wide * high * nz);
  let to = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y += 2) {
      const row = (z * ny + y) * nx;
      for (let x = 0; x < nx; x += 2) voxels[to++] = volume.voxels[row + x]!;
    }
  }
  const [dx, dy, dz] = volume.step;
  return { ...volume, voxels, size: [wide, high, nz], step: [(dx * nx) / wide, (dy * ny) / high, dz], frame: null };
}

const DATA_AT = 352;

/** The volume as a NIfTI file in memory, its middle at the origin. */
function niftiOf({ voxels, size, step }: Volume): ArrayBuffer {
  const buffer = new ArrayBuffer(DATA_AT + 2 * voxels.length);
  const view = new DataView(buffer);
  view.setInt32(0, 348, true);
  view.setInt16(40, 3, true);
  for (const [i, n] of [...size, 1, 1, 1, 1].entries()) view.setInt16(42 + 2 * i, n, true);
  view.setInt16(70, 4, true); // int16
  view.setInt16(72, 16, true);
  for (const [i, mm] of [1, ...step].entries()) view.setFloat32(76 + 4 * i, mm, true);
  view.setFloat32(108, DATA_AT, true);
  view.setFloat32(112, 1, true);
  view.setUint8(123, 2); // millimetres
  view.setInt16(254, 1, true); // sform: scanner
  // Stored towards the left and the back; NIfTI counts towards the right and the front.
  for (const [i, sign] of [-1, -1, 1].entries()) {
    view.setFloat32(280 + 16 * i + 4 * i, sign * step[i]!, true);
    view.setFloat32(280 + 16 * i + 12, (-sign * step[i]! * (size[i]! - 1)) / 2, true);
  }
  for (const [i, byte] of [0x6e, 0x2b, 0x31, 0].entries()) view.setUint8(344 + i, byte); // n+1
  new Int16Array(buffer, DATA_AT).set(voxels);
  return buffer;
}
