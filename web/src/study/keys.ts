// The keys of the study page.

import { isTaken } from "../keyboard";
import { PRESETS } from "../labels";
import type { ViewState } from "../viewer/state";
import type { Axis } from "../viewer/volume";
import { SLABS_MM, TOOL_OF_KEY } from "./tools";

/** What buttons and keys do, beyond the viewer's own state. */
export interface Actions {
  mostSuspicious: () => void;
  nextSuspicious: (direction: 1 | -1) => void;
  /** To a layout, or from it back to the axial plane alone. */
  toggleLayout: (layout: "planes" | "windows") => void;
  compare: () => void;
  reset: () => void;
  back: () => void;
  neighbour: (direction: 1 | -1) => void;
  verdict: () => void;
}

function axisOf(target: EventTarget | null): Axis {
  const box = target instanceof Element ? target.closest<HTMLElement>("[data-axis]") : null;
  return (box?.dataset["axis"] as Axis | undefined) ?? "axial";
}

const STEPS: Readonly<Record<string, number>> = { ArrowUp: -1, ArrowDown: 1, ArrowLeft: -1, ArrowRight: 1, PageUp: -5, PageDown: 5 };

/** Do what a key means; true where it means something. */
export function press(event: KeyboardEvent, state: ViewState, actions: Actions): boolean {
  if (isTaken(event)) return false;
  const { target, key } = event;
  const axis = axisOf(target);
  const step = STEPS[key];
  if (step !== undefined) {
    // Arrows move a slider or a choice that has the focus.
    if (target instanceof HTMLInputElement && (target.type === "range" || target.type === "radio")) return false;
    state.scroll(axis, step);
    return true;
  }
  const preset = PRESETS.find((one) => one.key === key);
  if (preset) {
    if (state.volume.value?.unit === "HU") state.setWindow(preset);
    return true;
  }
  const tool = TOOL_OF_KEY[key];
  if (tool) {
    state.tool.value = tool;
    return true;
  }
  const act = viewKeys(state, axis)[key] ?? actionKeys(actions)[key];
  act?.();
  return act !== undefined;
}

type Keys = Readonly<Record<string, () => void>>;

function viewKeys(state: ViewState, axis: Axis): Keys {
  const toggle = (signal: { value: boolean }) => (): void => {
    signal.value = !signal.value;
  };
  const undoMeasure = (): void => {
    state.measures.value = state.measures.value.slice(0, -1);
  };
  return {
    Home: () => state.goTo(axis, 0),
    End: () => state.goTo(axis, Infinity),
    m: toggle(state.maskShown),
    i: toggle(state.inverted),
    x: toggle(state.crosshair),
    n: toggle(state.smooth),
    t: () => {
      state.slab.value = SLABS_MM[(SLABS_MM.indexOf(state.slab.value) + 1) % SLABS_MM.length]!;
    },
    "+": () => state.zoomBy(axis, 1.25),
    "=": () => state.zoomBy(axis, 1.25),
    "-": () => state.zoomBy(axis, 0.8),
    Delete: undoMeasure,
    Backspace: undoMeasure,
  };
}

function actionKeys(actions: Actions): Keys {
  return {
    j: actions.mostSuspicious,
    "]": () => actions.nextSuspicious(1),
    "[": () => actions.nextSuspicious(-1),
    v: () => actions.toggleLayout("planes"),
    h: () => actions.toggleLayout("windows"),
    c: actions.compare,
    r: actions.reset,
    a: actions.verdict,
    ".": () => actions.neighbour(1),
    ",": () => actions.neighbour(-1),
    Escape: actions.back,
  };
}
