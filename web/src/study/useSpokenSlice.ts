// The slice and its probability in words, for screen readers, once scrolling rests.

import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { probability } from "../format";
import type { LabelName } from "../labels";
import type { ViewState } from "../viewer/state";
import type { Loaded } from "./loading";

const REST_MS = 600;

export function useSpokenSlice(
  view: ViewState,
  loaded: ReadonlySignal<Loaded | null>,
  label: ReadonlySignal<LabelName>,
): ReadonlySignal<string> {
  const spoken = useSignal("");
  useEffect(() => {
    let timer = 0;
    const speak = (): void => {
      const found = loaded.peek();
      const volume = view.volume.peek();
      if (!found || !volume || volume.size[2] < 2) return;
      const native = found.slices.display.source[view.slice("axial")];
      const p = found.slices.slices.find((slice) => slice.index === native)?.probabilities[label.peek()];
      const { number, of } = view.count("axial");
      spoken.value = `Slice ${number ?? "missing"} of ${of}${p === null || p === undefined ? "" : `, probability ${probability(p)}`}`;
    };
    const unsubscribe = view.point.subscribe(() => {
      clearTimeout(timer);
      timer = window.setTimeout(speak, REST_MS);
    });
    return () => {
      clearTimeout(timer);
      unsubscribe();
    };
  }, [view, loaded, label]);
  return spoken;
}
