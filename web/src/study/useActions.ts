// What buttons and keys do on the page of a study.

import type { ReadonlySignal } from "@preact/signals";
import { useLayoutEffect, useMemo } from "preact/hooks";
import { go, toStudy } from "../router";
import type { ViewState } from "../viewer/state";
import { neighbours } from "../worklist/live";
import { type Actions, press } from "./keys";
import type { Loaded } from "./loading";
import { suspiciousFrom } from "./suspicious";
import type { Choices } from "./useChoices";

interface Page {
  id: string;
  prior: string | null;
  view: ViewState;
  loaded: ReadonlySignal<Loaded | null>;
  choices: Choices;
  /** Moves the focus to the reader's verdict. */
  focusVerdict: () => void;
}

export function useActions({ id, prior, view, loaded, choices, focusVerdict }: Page): Actions {
  return useMemo(
    () => ({
      mostSuspicious: () => {
        const found = loaded.peek();
        if (found) view.goTo("axial", found.slices.display.suspicious);
      },
      nextSuspicious: (direction) => {
        const found = loaded.peek();
        if (!found) return;
        const { thresholds } = found.findings;
        const next = suspiciousFrom(found.slices.slices, thresholds, choices.label.peek(), view.slice("axial"), direction);
        if (next !== null) view.goTo("axial", next);
      },
      toggleLayout: (layout) => {
        choices.layout.value = choices.layout.peek() === layout ? "single" : layout;
      },
      compare: () => {
        if (prior) go(toStudy(id));
        else choices.picking.value = true;
      },
      reset: () => view.reset(),
      back: () => go("#/"),
      neighbour: (direction) => {
        const { before, after } = neighbours(id);
        const next = direction > 0 ? after : before;
        if (next) go(toStudy(next.id));
      },
      verdict: focusVerdict,
    }),
    [id, prior, view, loaded, choices.label, choices.layout, choices.picking, focusVerdict],
  );
}

/** Keys of the page act while it is open. */
export function useKeys(view: ViewState, actions: Actions): void {
  useLayoutEffect(() => {
    const listen = (event: KeyboardEvent): void => {
      if (!event.defaultPrevented && press(event, view, actions)) event.preventDefault();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, [view, actions]);
}
