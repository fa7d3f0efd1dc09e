// The probability of every slice, as bars that scroll the volume when they are clicked or dragged over.

import { probability } from "../format";
import { type LabelName, labelOf } from "../labels";
import type { SliceRow } from "../types";
import type { ViewState } from "./state";

interface Props {
  state: ViewState;
  slices: readonly SliceRow[];
  label: LabelName;
  threshold: number | null;
  /** Slices (of the display) that carry an outlined region. */
  marked: ReadonlySet<number>;
}

const HEIGHT = 64;

export function Strip({ state, slices, label, threshold, marked }: Props) {
  const volume = state.volume.value;
  const count = volume?.size[2] ?? slices.length;
  if (count < 2) return null;
  const now = state.slice("axial");
  const shown = labelOf(label);
  const spans = slices.map((slice) => ({ slice, ...spanOf(slice, state.native.value) })).filter(({ to }) => to > 0);
  const current = spans.find(({ from, to }) => from <= now && now < to);
  const p = current?.slice.probabilities[label] ?? null;
  const { number, of } = state.count("axial");

  const choose = (event: PointerEvent): void => {
    const bounds = (event.currentTarget as HTMLElement).getBoundingClientRect();
    state.goTo("axial", Math.floor(((event.clientX - bounds.left) / bounds.width) * count));
  };
  const keys = (event: KeyboardEvent): void => {
    const steps: Record<string, number> = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 };
    const step = steps[event.key];
    if (step !== undefined) state.scroll("axial", step);
    else if (event.key === "Home") state.goTo("axial", 0);
    else if (event.key === "End") state.goTo("axial", count - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const spoken = p === null ? "" : `, probability ${probability(p)}`;
  return (
    <div class="strip">
      <div class="strip-head">
        <span>
          {shown.display} by slice
          {p !== null && (
            <>
              {": "}
              <b class="figure">{probability(p)}</b> on this one
            </>
          )}
        </span>
        <span class="soft hide-small">base of skull &rarr; vertex</span>
      </div>
      <div
        class="strip-bars"
        role="slider"
        tabIndex={0}
        aria-label={`Slice, with the probability of ${shown.display.toLowerCase()}`}
        aria-valuemin={1}
        aria-valuemax={of}
        aria-valuenow={number ?? undefined}
        aria-valuetext={`Slice ${number ?? "missing"} of ${of}${spoken}`}
        onKeyDown={keys}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          choose(event);
        }}
        onPointerMove={(event) => {
          if (event.currentTarget.hasPointerCapture(event.pointerId)) choose(event);
        }}
      >
        <svg viewBox={`0 0 ${count} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          {spans.map(({ slice, from, to }) => {
            const value = slice.probabilities[label];
            if (value === null || value === undefined) return null;
            const height = Math.max(1.5, value * HEIGHT);
            const above = threshold !== null && value >= threshold;
            return (
              <rect
                key={slice.index}
                class={above ? "hot" : "bar"}
                x={from + 0.08 * (to - from)}
                width={0.84 * (to - from)}
                y={HEIGHT - height}
                height={height}
              />
            );
          })}
          {[...marked].map((slice) => (
            <rect key={`m${slice}`} class="region" x={slice} width={1} y={HEIGHT - 3} height={3} />
          ))}
          {threshold !== null && <line class="limit" x1={0} x2={count} y1={HEIGHT * (1 - threshold)} y2={HEIGHT * (1 - threshold)} />}
          <rect class="now" x={current?.from ?? now} width={current ? current.to - current.from : 1} y={0} height={HEIGHT} />
        </svg>
      </div>
    </div>
  );
}

/** Shown slices, from one up to another, that a native slice stands behind; an empty span where none is. */
function spanOf(slice: SliceRow, native: readonly (number | null)[] | null): { from: number; to: number } {
  if (!native) return slice.display === null ? { from: 0, to: 0 } : { from: slice.display, to: slice.display + 1 };
  return { from: Math.max(0, native.indexOf(slice.index)), to: native.lastIndexOf(slice.index) + 1 };
}
