// The keys of the study page. They rest while somebody types.

import { PRESETS } from "../labels";
import type { ViewState } from "../viewer/state";
import type { Axis } from "../viewer/volume";
import { KEY_TOOLS } from "./Toolbar";

export interface Acts {
  jump: () => void;
  suspicious: (direction: 1 | -1) => void;
  planes: () => void;
  compare: () => void;
  reset: () => void;
  back: () => void;
  neighbour: (direction: 1 | -1) => void;
  verdict: () => void;
  print: () => void;
}

export function typing(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "range", "file"].includes(target.type);
}

function axisOf(target: EventTarget | null): Axis {
  const box = target instanceof Element ? target.closest<HTMLElement>("[data-axis]") : null;
  return (box?.dataset["axis"] as Axis | undefined) ?? "axial";
}

/** Do what a key means; true where it means something. */
export function press(event: KeyboardEvent, state: ViewState, acts: Acts): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return false;
  const target = event.target;
  const moves = target instanceof HTMLInputElement && (target.type === "range" || target.type === "radio");
  const axis = axisOf(target);
  const steps: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1, PageUp: -5, PageDown: 5 };
  const step = steps[event.key];
  if (step !== undefined) {
    if (moves) return false;
    state.scroll(axis, step);
    return true;
  }
  if (event.key === "Home" || event.key === "End") {
    state.goTo(axis, event.key === "Home" ? 0 : Infinity);
    return true;
  }
  const preset = PRESETS.find(({ key }) => key === event.key);
  if (preset) {
    if (state.volume.value?.unit === "HU") state.setWindow(preset);
    return true;
  }
  const tool = KEY_TOOLS[event.key];
  if (tool) {
    state.tool.value = tool;
    return true;
  }
  const flip = (signal: { value: boolean }): void => void (signal.value = !signal.value);
  const letters: Record<string, () => void> = {
    m: () => flip(state.maskShown),
    i: () => flip(state.inverted),
    x: () => flip(state.crosshair),
    n: () => flip(state.smooth),
    j: acts.jump,
    "]": () => acts.suspicious(1),
    "[": () => acts.suspicious(-1),
    v: acts.planes,
    c: acts.compare,
    r: acts.reset,
    a: acts.verdict,
    ".": () => acts.neighbour(1),
    ",": () => acts.neighbour(-1),
    "+": () => state.zoomBy(axis, 1.25),
    "=": () => state.zoomBy(axis, 1.25),
    "-": () => state.zoomBy(axis, 0.8),
    Escape: acts.back,
    Delete: () => (state.measures.value = state.measures.value.slice(0, -1)),
    Backspace: () => (state.measures.value = state.measures.value.slice(0, -1)),
  };
  const act = letters[event.key];
  if (!act) return false;
  act();
  return true;
}
