// Draws one plane of a volume on a canvas: greys, outlines, cross, measures, scale.

import type { Window } from "../labels";
import type { Fit } from "./fit";
import { fitOf } from "./fit";
import { describe, type Measure } from "./measure";
import { PlainSource, type Scene, type Source } from "./source";
import type { ViewState } from "./state";
import { type Axis, type Plane, toPlane, type Volume } from "./volume";

const INK = "#ffd479";
const CROSS = "rgba(110, 190, 255, 0.55)";
/** Red, green and blue of the heat map, and the share of the image that it hides where it is highest. */
const HEAT = [255, 122, 26] as const;
const MOST_HEAT = 0.75;
/** Of a region whose colour is not known. */
const REGION = "#e4572e";

export interface PaintOptions {
  crosshair: boolean;
  /** Whether a bar shows the scale. */
  lengths: boolean;
  /** In place of the viewer's window. */
  window: Window | undefined;
}

export class Painter {
  /** The greys as last drawn: a moved cross or a changed outline does not draw them anew. */
  private readonly greys = document.createElement("canvas");
  private greysOf: unknown[] = [];

  /** For what the viewer's own source does not draw: slabs, and planes with a window of their own. */
  private readonly plain = new PlainSource();
  private readonly veil = document.createElement("canvas");

  constructor(private readonly canvas: HTMLCanvasElement) {}

  private drawGreys(source: Source, scene: Scene, redraws: number): boolean {
    const { window, fit, plane, inverted, smooth } = scene;
    const { width, height } = this.canvas;
    const key = [
      source,
      plane,
      width,
      height,
      fit.left,
      fit.top,
      fit.columnScale,
      fit.rowScale,
      window.level,
      window.width,
      inverted,
      smooth,
      redraws,
    ];
    if (key.length === this.greysOf.length && key.every((part, i) => part === this.greysOf[i])) return true;
    this.greys.width = width;
    this.greys.height = height;
    if (!source.draw(this.greys.getContext("2d", { alpha: false })!, scene)) return false;
    this.greysOf = key;
    return true;
  }

  /** Draw what the state says; returns where the plane lies, null where there is nothing to draw. */
  paint(state: ViewState, axis: Axis, options: PaintOptions): Fit | null {
    const volume = state.volume.value;
    const slice = state.slice(axis);
    const plane = state.planeOf(axis, slice);
    const own = options.window !== undefined || state.slabSlices(axis) > 1;
    const source = own && state.source.value ? this.plain : state.source.value;
    const context = this.canvas.getContext("2d", { alpha: false })!;
    const ratio = this.canvas.width / Math.max(1, this.canvas.clientWidth);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (!volume || !plane || !source || !this.canvas.width || !this.canvas.height) return null;
    const fit = fitOf(plane, state.filledOf(axis), this.canvas.clientWidth, this.canvas.clientHeight, state.poses[axis].value);
    const [window, inverted, smooth] = [options.window ?? state.window.value, state.inverted.value, state.smooth.value];
    const scene: Scene = { volume, axis, plane, point: state.point.value, fit, ratio, window, inverted, smooth };
    if (!this.drawGreys(source, scene, state.redraws.value)) return null;
    context.drawImage(this.greys, 0, 0);

    context.setTransform(ratio * fit.columnScale, 0, 0, ratio * fit.rowScale, ratio * fit.left, ratio * fit.top);
    if (state.maskShown.value) {
      this.drawHeat(context, state, axis, slice, plane, fit);
      this.drawMask(context, state, axis, slice, fit);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (options.crosshair) drawCross(context, this.canvas, volume, axis, state, fit);
    for (const measure of state.measures.value) {
      if (measure.axis === axis && measure.depth === slice) drawMeasure(context, measure, plane, fit, volume);
    }
    if (options.lengths && volume.scaled) drawScale(context, this.canvas, fit);
    return fit;
  }

  /** The heat map as a veil of one colour: it has no edge, so that it is not taken for an outline. */
  private drawHeat(context: CanvasRenderingContext2D, state: ViewState, axis: Axis, slice: number, plane: Plane, fit: Fit): void {
    const heat = state.heatOf(axis, slice);
    if (!heat) return;
    this.veil.width = heat.width;
    this.veil.height = heat.height;
    const to = this.veil.getContext("2d")!;
    const image = to.createImageData(heat.width, heat.height);
    for (let i = 0; i < heat.values.length; i++) image.data.set([...HEAT, MOST_HEAT * heat.values[i]!], 4 * i);
    to.putImageData(image, 0, 0);
    const ratio = this.canvas.width / Math.max(1, this.canvas.clientWidth);
    const [across, down] = [heat.columnStep / plane.columnStep, heat.rowStep / plane.rowStep];
    context.setTransform(ratio * fit.columnScale * across, 0, 0, ratio * fit.rowScale * down, ratio * fit.left, ratio * fit.top);
    context.globalAlpha = state.maskOpacity.value;
    context.imageSmoothingEnabled = true;
    context.drawImage(this.veil, 0, 0);
    context.globalAlpha = 1;
    context.setTransform(ratio * fit.columnScale, 0, 0, ratio * fit.rowScale, ratio * fit.left, ratio * fit.top);
  }

  private drawMask(context: CanvasRenderingContext2D, state: ViewState, axis: Axis, slice: number, fit: Fit): void {
    const opacity = state.maskOpacity.value;
    const colours = state.colours.value;
    const ofPixels = context.getTransform();
    for (const { region, path } of state.outlinesOf(axis, slice)) {
      const colour = colours[region - 1] ?? REGION;
      context.setTransform(ofPixels);
      context.globalAlpha = opacity * 0.08;
      context.fillStyle = colour;
      context.fill(path, "evenodd");
      // Lines keep their width on the screen, however the pixels are stretched.
      const drawn = new Path2D();
      drawn.addPath(path, new DOMMatrix([fit.columnScale, 0, 0, fit.rowScale, fit.left, fit.top]));
      const ratio = this.canvas.width / Math.max(1, this.canvas.clientWidth);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.lineJoin = "round";
      context.globalAlpha = opacity * 0.6;
      context.strokeStyle = "#000";
      context.lineWidth = 3.4;
      context.stroke(drawn);
      context.globalAlpha = opacity;
      context.strokeStyle = colour;
      context.lineWidth = 1.6;
      context.stroke(drawn);
    }
    context.globalAlpha = 1;
  }
}

function drawCross(
  context: CanvasRenderingContext2D,
  canvas: HTMLCanvasElement,
  volume: Volume,
  axis: Axis,
  state: ViewState,
  fit: Fit,
): void {
  const { column, row } = toPlane(volume, axis, state.point.value);
  const x = fit.left + column * fit.columnScale;
  const y = fit.top + row * fit.rowScale;
  const gap = 14;
  context.strokeStyle = CROSS;
  context.lineWidth = 1;
  context.beginPath();
  for (const [from, to] of [
    [0, x - gap],
    [x + gap, canvas.clientWidth],
  ] as const) {
    context.moveTo(from, y);
    context.lineTo(Math.max(from, to), y);
  }
  for (const [from, to] of [
    [0, y - gap],
    [y + gap, canvas.clientHeight],
  ] as const) {
    context.moveTo(x, from);
    context.lineTo(x, Math.max(from, to));
  }
  context.stroke();
}

/** A bar of 5 cm (or 1 cm where that is too long) at the right edge. */
function drawScale(context: CanvasRenderingContext2D, canvas: HTMLCanvasElement, fit: Fit): void {
  const height = canvas.clientHeight;
  const mm = 50 * fit.perMm < height * 0.6 ? 50 : 10;
  const length = mm * fit.perMm;
  const x = canvas.clientWidth - 12;
  const top = (height - length) / 2;
  context.strokeStyle = INK;
  context.fillStyle = INK;
  context.globalAlpha = 0.85;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x, top + length);
  for (let i = 0; i <= 5; i++) {
    const y = top + (length * i) / 5;
    context.moveTo(x - (i % 5 ? 4 : 7), y);
    context.lineTo(x, y);
  }
  context.stroke();
  text(context, `${mm / 10} cm`, x - 4, top + length + 14, "right");
  context.globalAlpha = 1;
}

function drawMeasure(context: CanvasRenderingContext2D, measure: Measure, plane: Plane, fit: Fit, volume: Volume): void {
  const [x0, x1] = [measure.from[0], measure.to[0]].map((c) => fit.left + c * fit.columnScale) as [number, number];
  const [y0, y1] = [measure.from[1], measure.to[1]].map((r) => fit.top + r * fit.rowScale) as [number, number];
  const path = new Path2D();
  if (measure.kind === "length") {
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
    for (const [x, y] of [
      [x0, y0],
      [x1, y1],
    ] as const) {
      path.moveTo(x + 3, y);
      path.arc(x, y, 3, 0, 2 * Math.PI);
    }
  } else {
    path.ellipse((x0 + x1) / 2, (y0 + y1) / 2, Math.abs(x1 - x0) / 2, Math.abs(y1 - y0) / 2, 0, 0, 2 * Math.PI);
  }
  context.strokeStyle = "rgba(0, 0, 0, 0.7)";
  context.lineWidth = 3.5;
  context.stroke(path);
  context.strokeStyle = INK;
  context.lineWidth = 1.5;
  context.stroke(path);
  context.fillStyle = INK;
  const right = Math.max(x0, x1) + 8;
  const top = Math.max(y0, y1) + 4;
  for (const [i, line] of describe(measure, plane, volume).entries()) text(context, line, right, top + 15 * i, "left");
}

function text(context: CanvasRenderingContext2D, words: string, x: number, y: number, align: CanvasTextAlign): void {
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = align;
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0, 0, 0, 0.8)";
  context.strokeText(words, x, y);
  context.fillText(words, x, y);
}
