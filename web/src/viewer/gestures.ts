// Mouse, wheel, pen and fingers on a plane.

import type { Fit } from "./draw";
import { type Measure, type Tool, type ViewState } from "./state";
import { type Axis, fromPlane } from "./volume";

const WHEEL_STEP = 60;
const DRAG_STEP = 7;

interface Held {
  id: number;
  x: number;
  y: number;
  startX: number;
  startY: number;
  moved: boolean;
}

/** Listen on a plane's box; `fit` tells where its pixels lie now. Returns what takes the listeners off. */
export function listen(box: HTMLElement, state: ViewState, axis: Axis, fit: () => Fit | null): () => void {
  const off = new AbortController();
  const { signal } = off;
  const fingers = new Map<number, Held>();
  let tool: Tool = "scroll";
  let carried = 0;
  let measure: Measure | null = null;

  const place = (event: { clientX: number; clientY: number }): [number, number] => {
    const bounds = box.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  };
  const pixel = (x: number, y: number): [number, number] | null => {
    const at = fit();
    return at && [(x - at.left) / at.columnScale, (y - at.top) / at.rowScale];
  };
  /** From CSS pixels of the box, counted from its middle, to mm at zoom 1. */
  const resting = (x: number, y: number): [number, number] => {
    const at = fit();
    const perMm = at ? at.perMm / state.poses[axis].value.zoom : 1;
    return [(x - box.clientWidth / 2) / perMm, (y - box.clientHeight / 2) / perMm];
  };

  box.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 40 : event.deltaY;
      if (event.ctrlKey || event.metaKey) {
        state.zoomBy(axis, Math.exp(-lines / 300), ...resting(...place(event)));
        return;
      }
      carried += lines;
      // A mouse's notch is one slice at least; a track pad's many small steps add up.
      const steps = Math.abs(lines) >= 40 && Math.abs(carried) < WHEEL_STEP ? Math.sign(lines) : Math.trunc(carried / WHEEL_STEP);
      if (steps) {
        carried = 0;
        state.scroll(axis, steps);
      }
    },
    { signal, passive: false },
  );

  box.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });

  box.addEventListener(
    "pointerdown",
    (event) => {
      if (event.target instanceof Element && event.target.closest("button, input, a")) return;
      box.focus({ preventScroll: true });
      box.setPointerCapture(event.pointerId);
      const [x, y] = place(event);
      fingers.set(event.pointerId, { id: event.pointerId, x, y, startX: x, startY: y, moved: false });
      if (fingers.size > 1) measure = null;
      tool =
        event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : event.ctrlKey ? "zoom" : state.tool.value;
      carried = 0;
      if (event.button === 1) event.preventDefault();
    },
    { signal },
  );

  box.addEventListener(
    "pointermove",
    (event) => {
      const [x, y] = place(event);
      const held = fingers.get(event.pointerId);
      if (!held) {
        point(x, y);
        return;
      }
      const [dx, dy] = [x - held.x, y - held.y];
      if (!held.moved && Math.hypot(x - held.startX, y - held.startY) < 4) return;
      held.moved = true;
      if (fingers.size === 2) pinch(held, x, y);
      else if (fingers.size === 1) drag(held, x, y, dx, dy);
      held.x = x;
      held.y = y;
    },
    { signal },
  );

  const release = (event: PointerEvent): void => {
    const held = fingers.get(event.pointerId);
    fingers.delete(event.pointerId);
    if (held && !held.moved && event.type === "pointerup" && event.button === 0 && fingers.size === 0) centre(held);
    if (fingers.size === 0) {
      if (measure && measure.from[0] === measure.to[0] && measure.from[1] === measure.to[1]) drop(measure);
      measure = null;
    }
  };
  box.addEventListener("pointerup", release, { signal });
  box.addEventListener("pointercancel", release, { signal });
  box.addEventListener("pointerleave", () => (state.pointed.value = null), { signal });
  box.addEventListener(
    "dblclick",
    (event) => {
      if (event.target instanceof Element && event.target.closest("button, input, a")) return;
      state.poses[axis].value = { zoom: 1, x: 0, y: 0 };
    },
    { signal },
  );

  function point(x: number, y: number): void {
    const volume = state.volume.value;
    const at = pixel(x, y);
    const plane = volume && state.planeOf(axis, state.slice(axis));
    if (!volume || !at || !plane || at[0] < 0 || at[1] < 0 || at[0] >= plane.width || at[1] >= plane.height) {
      state.pointed.value = null;
      return;
    }
    state.pointed.value = { axis, point: fromPlane(volume, axis, at[0], at[1], state.point.value) };
  }

  function centre(held: Held): void {
    const volume = state.volume.value;
    const at = pixel(held.x, held.y);
    if (volume && at) state.point.value = fromPlane(volume, axis, at[0], at[1], state.point.value);
    point(held.x, held.y);
  }

  function drag(held: Held, x: number, y: number, dx: number, dy: number): void {
    const pose = state.poses[axis].value;
    if (tool === "scroll") {
      carried += dy;
      const steps = Math.trunc(carried / DRAG_STEP);
      carried -= steps * DRAG_STEP;
      if (steps) state.scroll(axis, steps);
    } else if (tool === "window") {
      const { level, width } = state.window.value;
      // Finer where the window is narrow: a step is a share of its width.
      const gain = Math.max(0.4, width / 250);
      const [exactLevel, exactWidth] = [level + dy * gain, width + dx * gain];
      state.setWindow({ level: exactLevel, width: exactWidth });
    } else if (tool === "pan") {
      const [x0, y0] = resting(0, 0);
      const [x1, y1] = resting(dx, dy);
      state.poses[axis].value = { ...pose, x: pose.x + x1 - x0, y: pose.y + y1 - y0 };
    } else if (tool === "zoom") {
      state.zoomBy(axis, Math.exp(-dy / 150), ...resting(held.startX, held.startY));
    } else {
      const to = pixel(x, y);
      const from = pixel(held.startX, held.startY);
      if (!to || !from) return;
      const drawn: Measure = { kind: tool, axis, depth: state.slice(axis), from: measure?.from ?? from, to };
      state.measures.value = [...state.measures.value.filter((other) => other !== measure), drawn];
      measure = drawn;
    }
  }

  function pinch(held: Held, x: number, y: number): void {
    const other = [...fingers.values()].find((finger) => finger.id !== held.id)!;
    other.moved = true;
    const before = Math.hypot(held.x - other.x, held.y - other.y);
    const after = Math.hypot(x - other.x, y - other.y);
    const [oldX, oldY] = resting((held.x + other.x) / 2, (held.y + other.y) / 2);
    const [newX, newY] = resting((x + other.x) / 2, (y + other.y) / 2);
    if (before > 0) state.zoomBy(axis, after / before, newX, newY);
    const pose = state.poses[axis].value;
    state.poses[axis].value = { ...pose, x: pose.x + newX - oldX, y: pose.y + newY - oldY };
  }

  function drop(unfinished: Measure): void {
    state.measures.value = state.measures.value.filter((other) => other !== unfinished);
  }

  return () => off.abort();
}
