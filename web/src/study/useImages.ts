// The images of one study: loaded once it is done, and put into the viewer.

import { type ReadonlySignal, type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { messageOf } from "../errors";
import type { Study } from "../types";
import { openImages } from "../viewer/opening";
import type { ViewState } from "../viewer/state";
import type { Desk } from "./desk";
import type { Loaded } from "./loading";
import { regionCentre, warmest } from "./regions";

export interface StudyImages {
  loaded: Signal<Loaded | null>;
  /** Share of the volume received, 0 to 1. */
  progress: Signal<number>;
  problem: Signal<string>;
}

export function useImages(id: string, study: ReadonlySignal<Study | null>, { view, cache }: Desk): StudyImages {
  const loaded = useSignal<Loaded | null>(null);
  const progress = useSignal(0);
  const problem = useSignal("");
  const state = study.value?.state;
  // Of what was refused before its images were read nothing is stored.
  const empty = state === "refused" && study.value?.n_slices === null;

  useEffect(() => {
    const row = study.peek();
    if (!row || row.id !== id || empty || (state !== "ready" && state !== "refused")) return;
    const stop = new AbortController();
    const open = async (): Promise<void> => {
      const found = await cache.load(row, stop.signal, (share) => {
        progress.value = share;
      });
      await openImages(view, found.images, stop.signal);
      if (stop.signal.aborted) return;
      loaded.value = found;
      if (found.findings.kind === "exam") showFinding(view, found);
    };
    view.volume.value = null; // of the study before
    loaded.value = null;
    open().catch((error: unknown) => {
      if (stop.signal.aborted) return;
      if (row.state === "refused") return; // only the reason is stored
      problem.value = messageOf(error);
    });
    return () => stop.abort();
  }, [id, state, empty, view, cache]);
  return { loaded, progress, problem };
}

/** The axial plane at the most suspicious slice; the others through the largest outlined region, or the warmest place. */
function showFinding(view: ViewState, { images, slices }: Loaded): void {
  const centre = images.heat ? warmest(images.heat, images.volume) : images.mask && regionCentre(images.mask, 1);
  if (centre) view.point.value = centre;
  view.goTo("axial", slices.display.suspicious);
}
