// Mouse, wheel, pen and fingers on a plane.

import { AT_REST, type Fit } from "./fit";
import type { Measure } from "./measure";
import type { Tool, ViewState } from "./state";
import { type Axis, fromPlane } from "./volume";

/** Of the wheel, in CSS pixels a slice. */
const WHEEL_STEP = 60;
/** From here on a turn of the wheel is a mouse's notch, not a part of a track pad's movement. */
const NOTCH = 40;
/** Of a dragged pointer, in CSS pixels a slice. */
const DRAG_STEP = 7;
/** CSS pixels from which on a pressed pointer is dragged. */
const DRAG_FROM = 4;

interface Finger {
  id: number;
  x: number;
  y: number;
  startX: number;
  startY: number;
  moved: boolean;
}

type Place = [x: number, y: number];

/** Listen on a plane's box; `fit` gives where its pixels lie now. Returns what removes the listeners. */
export function listen(box: HTMLElement, state: ViewState, axis: Axis, fit: () => Fit | null): () => void {
  const gestures = new Gestures(box, state, axis, fit);
  const off = new AbortController();
  const { signal } = off;
  box.addEventListener("wheel", (event) => gestures.wheel(event), { signal, passive: false });
  box.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
  box.addEventListener("pointerdown", (event) => gestures.press(event), { signal });
  box.addEventListener("pointermove", (event) => gestures.move(event), { signal });
  box.addEventListener("pointerup", (event) => gestures.release(event), { signal });
  box.addEventListener("pointercancel", (event) => gestures.release(event), { signal });
  box.addEventListener("pointerleave", () => gestures.leave(), { signal });
  box.addEventListener("dblclick", (event) => gestures.doubleClick(event), { signal });
  return () => off.abort();
}

/** Whether an event is for a button that lies on the plane. */
function onControl(event: Event): boolean {
  return event.target instanceof Element && event.target.closest("button, input, a") !== null;
}

class Gestures {
  private readonly fingers = new Map<number, Finger>();
  private tool: Tool = "scroll";
  /** Movement that was not yet enough for a slice. */
  private remainder = 0;
  /** What is being drawn. */
  private measure: Measure | null = null;

  constructor(
    private readonly box: HTMLElement,
    private readonly state: ViewState,
    private readonly axis: Axis,
    private readonly fit: () => Fit | null,
  ) {}

  wheel(event: WheelEvent): void {
    event.preventDefault();
    const { state, axis } = this;
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 40 : event.deltaY;
    if (event.ctrlKey || event.metaKey) {
      state.zoomBy(axis, Math.exp(-lines / 300), ...this.resting(...this.placeOf(event)));
      return;
    }
    this.remainder += lines;
    // A mouse's notch is one slice at least; a track pad's many small steps add up.
    const notch = Math.abs(lines) >= NOTCH && Math.abs(this.remainder) < WHEEL_STEP;
    const steps = notch ? Math.sign(lines) : Math.trunc(this.remainder / WHEEL_STEP);
    if (!steps) return;
    this.remainder = 0;
    state.scroll(axis, steps);
  }

  press(event: PointerEvent): void {
    if (onControl(event)) return;
    this.box.focus({ preventScroll: true });
    this.box.setPointerCapture(event.pointerId);
    const [x, y] = this.placeOf(event);
    this.fingers.set(event.pointerId, { id: event.pointerId, x, y, startX: x, startY: y, moved: false });
    if (this.fingers.size > 1) this.measure = null;
    this.tool = this.toolOf(event);
    this.remainder = 0;
    if (event.button === 1) event.preventDefault();
  }

  move(event: PointerEvent): void {
    const [x, y] = this.placeOf(event);
    const finger = this.fingers.get(event.pointerId);
    if (!finger) {
      this.point(x, y);
      return;
    }
    if (!finger.moved && Math.hypot(x - finger.startX, y - finger.startY) < DRAG_FROM) return;
    finger.moved = true;
    if (this.fingers.size === 2) this.pinch(finger, x, y);
    else if (this.fingers.size === 1) this.drag(finger, x, y);
    finger.x = x;
    finger.y = y;
  }

  release(event: PointerEvent): void {
    const finger = this.fingers.get(event.pointerId);
    this.fingers.delete(event.pointerId);
    if (this.fingers.size > 0) return;
    if (finger && !finger.moved && event.type === "pointerup" && event.button === 0) this.click(finger);
    const { measure } = this;
    if (measure && measure.from[0] === measure.to[0] && measure.from[1] === measure.to[1]) this.replaceMeasure(measure, null);
    this.measure = null;
  }

  leave(): void {
    this.state.pointed.value = null;
  }

  doubleClick(event: MouseEvent): void {
    if (!onControl(event)) this.state.poses[this.axis].value = AT_REST;
  }

  private toolOf(event: PointerEvent): Tool {
    if (event.button === 2) return "window";
    if (event.button === 1 || event.shiftKey) return "pan";
    return event.ctrlKey ? "zoom" : this.state.tool.value;
  }

  private placeOf(event: { clientX: number; clientY: number }): Place {
    const bounds = this.box.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  }

  /** Column and row under a place of the box. */
  private pixel(x: number, y: number): Place | null {
    const at = this.fit();
    return at && [(x - at.left) / at.columnScale, (y - at.top) / at.rowScale];
  }

  /** From CSS pixels of the box, counted from its middle, to mm at zoom 1. */
  private resting(x: number, y: number): Place {
    const at = this.fit();
    const perMm = at ? at.perMm / this.state.poses[this.axis].value.zoom : 1;
    return [(x - this.box.clientWidth / 2) / perMm, (y - this.box.clientHeight / 2) / perMm];
  }

  private point(x: number, y: number): void {
    const { state, axis } = this;
    const volume = state.volume.value;
    const at = this.pixel(x, y);
    const plane = state.planeOf(axis, state.slice(axis));
    const inside = at !== null && plane !== null && at[0] >= 0 && at[1] >= 0 && at[0] < plane.width && at[1] < plane.height;
    state.pointed.value = volume && inside ? { axis, point: fromPlane(volume, axis, at[0], at[1], state.point.value) } : null;
  }

  /** The other planes go through the clicked voxel. */
  private click(finger: Finger): void {
    const { state, axis } = this;
    const volume = state.volume.value;
    const at = this.pixel(finger.x, finger.y);
    if (volume && at) state.point.value = fromPlane(volume, axis, at[0], at[1], state.point.value);
    this.point(finger.x, finger.y);
  }

  private drag(finger: Finger, x: number, y: number): void {
    const { state, axis, tool } = this;
    const [dx, dy] = [x - finger.x, y - finger.y];
    if (tool === "scroll") {
      this.remainder += dy;
      const steps = Math.trunc(this.remainder / DRAG_STEP);
      this.remainder -= steps * DRAG_STEP;
      if (steps) state.scroll(axis, steps);
    } else if (tool === "window") {
      const { level, width } = state.window.value;
      // Finer where the window is narrow: a step is a share of its width.
      const gain = Math.max(0.4, width / 250);
      state.setWindow({ level: level + dy * gain, width: width + dx * gain });
    } else if (tool === "pan") {
      this.pan(this.resting(finger.x, finger.y), this.resting(x, y));
    } else if (tool === "zoom") {
      state.zoomBy(axis, Math.exp(-dy / 150), ...this.resting(finger.startX, finger.startY));
    } else {
      this.draw(tool, finger, x, y);
    }
  }

  private draw(kind: Measure["kind"], finger: Finger, x: number, y: number): void {
    const to = this.pixel(x, y);
    const from = this.measure?.from ?? this.pixel(finger.startX, finger.startY);
    if (!to || !from) return;
    const drawn: Measure = { kind, axis: this.axis, depth: this.state.slice(this.axis), from, to };
    this.replaceMeasure(this.measure, drawn);
    this.measure = drawn;
  }

  private pinch(finger: Finger, x: number, y: number): void {
    const other = [...this.fingers.values()].find(({ id }) => id !== finger.id)!;
    other.moved = true;
    const before = Math.hypot(finger.x - other.x, finger.y - other.y);
    const after = Math.hypot(x - other.x, y - other.y);
    const from = this.resting((finger.x + other.x) / 2, (finger.y + other.y) / 2);
    const to = this.resting((x + other.x) / 2, (y + other.y) / 2);
    if (before > 0) this.state.zoomBy(this.axis, after / before, ...to);
    this.pan(from, to);
  }

  private pan(from: Place, to: Place): void {
    const pose = this.state.poses[this.axis];
    pose.value = { ...pose.value, x: pose.value.x + to[0] - from[0], y: pose.value.y + to[1] - from[1] };
  }

  private replaceMeasure(before: Measure | null, after: Measure | null): void {
    const others = this.state.measures.value.filter((one) => one !== before);
    this.state.measures.value = after ? [...others, after] : others;
  }
}
