// One plane of a volume: the canvas, what is written around it, and the pointer on it.

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Painter } from "./draw";
import type { Fit } from "./fit";
import { listen } from "./gestures";
import { describe } from "./measure";
import type { ViewState } from "./state";
import { type Axis, SIDES, valueAt } from "./volume";

const NAMES: Record<Axis, string> = { axial: "Axial", coronal: "Coronal", sagittal: "Sagittal" };

interface Props {
  state: ViewState;
  axis: Axis;
  /** Of the study, before the plane's own name, where two studies are side by side. */
  title?: string;
  crosshair: boolean;
  /** Whether other planes of the volume are seen beside it. */
  main: boolean;
  onEnlarge?: () => void;
}

export function Viewport({ state, axis, title, crosshair, main, onEnlarge }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const fit = useRef<Fit | null>(null);
  const redraw = useRef<() => void>(() => {});

  useEffect(() => {
    const painter = new Painter(canvas.current!);
    let frame = 0;
    redraw.current = () => {
      if (frame) return;
      frame = requestAnimationFrame(() => {
        frame = 0;
        const view = canvas.current;
        if (!view) return;
        fit.current = painter.paint(state, axis, { crosshair: crosshair && (!main || state.crosshair.peek()), lengths: main });
        // What is on the screen now, for the tests.
        if (fit.current) view.dataset["drawn"] = `${axis} ${state.slice(axis)}`;
        else delete view.dataset["drawn"];
      });
    };
    const sized = new ResizeObserver(() => {
      const view = canvas.current!;
      const ratio = Math.min(3, window.devicePixelRatio || 1);
      const [width, height] = [Math.round(view.clientWidth * ratio), Math.round(view.clientHeight * ratio)];
      if (view.width !== width || view.height !== height) {
        view.width = width;
        view.height = height;
      }
      redraw.current();
    });
    sized.observe(canvas.current!);
    const off = listen(box.current!, state, axis, () => fit.current);
    redraw.current();
    return () => {
      cancelAnimationFrame(frame);
      sized.disconnect();
      off();
    };
  }, [state, axis, crosshair, main]);

  useSignalEffect(() => {
    // Read, so that a change of any of them draws anew.
    void [
      state.volume.value,
      state.source.value,
      state.redraws.value,
      state.mask.value,
      state.colours.value,
      state.point.value,
      state.window.value,
    ];
    void [state.inverted.value, state.smooth.value, state.crosshair.value, state.maskShown.value];
    void [state.maskOpacity.value, state.measures.value, state.poses[axis].value];
    redraw.current();
  });

  const volume = state.volume.value;
  const sides = SIDES[axis];
  const picture = volume?.unit === "grey";
  const { number, of: count } = state.count(axis);
  const name = picture ? "Picture" : NAMES[axis];
  return (
    <div
      ref={box}
      class={`plane ${main ? "main" : ""}`}
      data-axis={axis}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: the keys act on the plane that has the focus
      tabIndex={0}
      role="group"
      aria-label={`${title ? `${title}, ` : ""}${name} view${count > 1 ? `, slice ${number ?? "missing"} of ${count}` : ""}`}
    >
      {/* biome-ignore lint/a11y/noAriaHiddenOnFocusable: a canvas without tabindex takes no focus */}
      <canvas ref={canvas} aria-hidden="true" />
      <div class="note top-left">
        {title && <b>{title}</b>}
        <span>
          {name}
          {count > 1 && (
            <>
              {" "}
              <span class="figure slice-number">
                {number ?? "gap"}/{count}
              </span>
            </>
          )}
        </span>
      </div>
      {main && <WindowNote state={state} />}
      {main && <PointerNote state={state} axis={axis} />}
      {!picture && (
        <div aria-hidden="true">
          <span class="side left">{sides.left}</span>
          <span class="side right">{sides.right}</span>
          <span class="side top">{sides.top}</span>
          <span class="side bottom">{sides.bottom}</span>
        </div>
      )}
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

function WindowNote({ state }: { state: ViewState }) {
  const { level, width } = state.window.value;
  const picture = state.volume.value?.unit === "grey";
  const zoom = state.poses.axial.value.zoom;
  return (
    <div class="note top-right">
      <span class="figure">
        {picture ? "Grey " : ""}L {level} W {width}
      </span>
      {state.preset.value && !picture && <span>{state.preset.value.display}</span>}
      {Math.abs(zoom - 1) > 0.01 && <span class="figure">{Math.round(zoom * 100)} %</span>}
      {state.inverted.value && <span>Inverted</span>}
    </div>
  );
}

function PointerNote({ state, axis }: { state: ViewState; axis: Axis }) {
  const volume = state.volume.value;
  const pointed = state.pointed.value;
  if (!volume || !pointed || pointed.axis !== axis) return null;
  const value = valueAt(volume, pointed.point);
  return <div class="note bottom-left figure pointed">{value === undefined ? "" : `${value} ${volume.unit === "HU" ? "HU" : "grey"}`}</div>;
}
