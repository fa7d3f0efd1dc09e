// One plane of a volume: the canvas, what is written around it, and the pointer on it.

import { useRef } from "preact/hooks";
import type { Preset } from "../labels";
import { describe } from "./measure";
import { PlaceNote, PointerNote, WindowNote } from "./Notes";
import type { ViewState } from "./state";
import { usePainter } from "./usePainter";
import { type Axis, SIDES } from "./volume";

const NAMES: Record<Axis, string> = { axial: "Axial", coronal: "Coronal", sagittal: "Sagittal" };

interface Props {
  state: ViewState;
  axis: Axis;
  /** Of the study, before the plane's own name, where two studies are side by side. */
  title?: string | undefined;
  crosshair: boolean;
  /** Whether it is shown large, with its window, scale and values. */
  main: boolean;
  /** A window of the plane's own, in place of the viewer's. */
  preset?: Preset | undefined;
  onEnlarge?: (() => void) | undefined;
}

export function Viewport({ state, axis, title, crosshair, main, preset, onEnlarge }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  usePainter(box, canvas, { state, axis, crosshair, main, window: preset });

  const picture = state.volume.value?.unit === "grey";
  const { number, of: count } = state.count(axis);
  const name = picture ? "Picture" : NAMES[axis];
  const window = preset ? `, ${preset.display.toLowerCase()} window` : "";
  const slice = count > 1 ? `, slice ${number ?? "missing"} of ${count}` : "";
  return (
    <div
      ref={box}
      class={`plane ${main ? "main" : ""}`}
      data-axis={axis}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: the keys act on the plane that has the focus
      tabIndex={0}
      role="group"
      aria-label={`${title ? `${title}, ` : ""}${name} view${window}${slice}`}
    >
      {/* biome-ignore lint/a11y/noAriaHiddenOnFocusable: a canvas without tabindex takes no focus */}
      <canvas ref={canvas} aria-hidden="true" />
      <PlaceNote state={state} axis={axis} title={title} name={name} main={main} />
      {main && <WindowNote state={state} axis={axis} preset={preset} />}
      {main && !preset && <PointerNote state={state} axis={axis} />}
      {main && state.heat.value && state.maskShown.value && (
        <span class="note bottom-right heat-note">{state.heatName.value}, not an outline</span>
      )}
      {!picture && (state.oriented.value ? <Sides axis={axis} /> : <span class="side top">sides not known</span>)}
      <Measures state={state} axis={axis} />
      {onEnlarge && (
        <button type="button" class="enlarge quiet" onClick={onEnlarge} aria-label={`Show the ${NAMES[axis].toLowerCase()} view large`}>
          <svg viewBox="0 0 16 16" aria-hidden="true">
            <path d="M2 6V2h4M14 10v4h-4M2 2l5 5M14 14l-5-5" />
          </svg>
        </button>
      )}
    </div>
  );
}

function Sides({ axis }: { axis: Axis }) {
  const sides = SIDES[axis];
  return (
    <div aria-hidden="true">
      <span class="side left">{sides.left}</span>
      <span class="side right">{sides.right}</span>
      <span class="side top">{sides.top}</span>
      <span class="side bottom">{sides.bottom}</span>
    </div>
  );
}

/** The numbers drawn on the canvas, for screen readers. */
function Measures({ state, axis }: { state: ViewState; axis: Axis }) {
  const volume = state.volume.value;
  const shown = state.measures.value.filter((one) => one.axis === axis && one.depth === state.slice(axis));
  if (!volume || !shown.length) return null;
  return (
    <ul class="unseen" aria-label="Measures">
      {shown.map((one, i) => {
        const plane = state.planeOf(axis, one.depth);
        return <li key={i}>{plane && describe(one, plane, volume).join(", ")}</li>;
      })}
    </ul>
  );
}
