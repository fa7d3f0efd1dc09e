// Asks whether many pictures are the slices of one exam, and how they lie in it.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { count } from "../format";
import { answer, asked } from "./transfer";

export function StackDialog() {
  const group = asked.value;
  const dialog = useRef<HTMLDialogElement>(null);
  const step = useSignal("");
  const spacing = useSignal("");
  const topFirst = useSignal(false);
  useEffect(() => {
    if (group) dialog.current?.showModal();
  }, [group]);
  if (!group) return null;
  const mm = numberOf(step.value);
  const pixel = spacing.value.trim() === "" ? null : numberOf(spacing.value);
  const fits = mm > 0 && mm <= 20 && (pixel === null || (pixel > 0 && pixel <= 20));
  const send = (together: boolean): void => {
    dialog.current?.close();
    answer(group, together ? { step_mm: mm, spacing_mm: pixel, top_first: topFirst.value } : null);
  };
  return (
    <dialog
      ref={dialog}
      class="sheet"
      aria-labelledby="stack-title"
      onCancel={() => {
        asked.value = null;
      }}
    >
      <h2 id="stack-title">{count(group.files.length, "picture")}: one exam?</h2>
      <p>
        As one exam they get one verdict. They must be the slices of one series, in the order of their names, all in the same window. The
        distances stand in the exam's report or in the viewer that the pictures come from.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (fits) send(true);
        }}
      >
        <p class="row wrap">
          <label class="field">
            mm from slice to slice
            <input
              name="step"
              inputMode="decimal"
              required
              value={step.value}
              onInput={(event) => (step.value = event.currentTarget.value)}
            />
          </label>
          <label class="field">
            mm a pixel, if known
            <input
              name="spacing"
              inputMode="decimal"
              value={spacing.value}
              onInput={(event) => (spacing.value = event.currentTarget.value)}
            />
          </label>
        </p>
        <label class="check">
          <input type="checkbox" checked={topFirst.value} onChange={(event) => (topFirst.value = event.currentTarget.checked)} />
          The first picture is the highest (at the vertex)
        </label>
        <p class="row wrap">
          <button type="submit" class="primary" disabled={!fits}>
            These are one exam
          </button>
          <button type="button" onClick={() => send(false)}>
            Each is its own
          </button>
          <button type="button" class="quiet" onClick={() => (asked.value = null)}>
            Cancel
          </button>
        </p>
      </form>
    </dialog>
  );
}

/** A number as it is typed, with a point or a comma. */
function numberOf(text: string): number {
  return Number(text.replace(",", "."));
}
