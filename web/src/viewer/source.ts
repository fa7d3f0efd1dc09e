// What draws a plane's greys: a plain canvas here, NiiVue in niivue-source.ts.

import type { Window } from "../labels";
import type { Fit } from "./fit";
import type { Axis, Plane, Point, Volume } from "./volume";
import { GreyTable } from "./window";

/** What is to be drawn: a slice of a volume, where it lies on the canvas, and its window. */
export interface Scene {
  volume: Volume;
  axis: Axis;
  plane: Plane;
  /** The voxel that all planes pass through. */
  point: Point;
  fit: Fit;
  /** The device's pixels a CSS pixel. */
  ratio: number;
  window: Window;
  inverted: boolean;
  /** Whether pixels are interpolated. */
  smooth: boolean;
}

export interface Source {
  readonly name: "niivue" | "plain";
  /** Draw a scene on a context whose unit is the device's pixel; false where it is not ready. */
  draw(context: CanvasRenderingContext2D, scene: Scene): boolean;
  close(): void;
}

/** Greys by table, drawn by the browser's own scaling. */
export class PlainSource implements Source {
  readonly name = "plain";
  private readonly grey = new GreyTable();
  private readonly sheet = document.createElement("canvas");
  private readonly sheetContext = this.sheet.getContext("2d")!;

  draw(context: CanvasRenderingContext2D, { plane, fit, ratio, window, inverted, smooth }: Scene): boolean {
    if (this.sheet.width !== plane.width || this.sheet.height !== plane.height) {
      this.sheet.width = plane.width;
      this.sheet.height = plane.height;
    }
    const image = this.sheetContext.createImageData(plane.width, plane.height);
    this.grey.set(window, inverted);
    this.grey.apply(plane.values, new Uint32Array(image.data.buffer));
    this.sheetContext.putImageData(image, 0, 0);
    context.setTransform(ratio * fit.columnScale, 0, 0, ratio * fit.rowScale, ratio * fit.left, ratio * fit.top);
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.sheet, 0, 0);
    return true;
  }

  close(): void {}
}
