// Side by side with another study: chosen from the worklist, scrolled and windowed together.

import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { api } from "../api";
import { messageOf } from "../errors";
import { clock, probability } from "../format";
import { askIdentity, identities } from "../identity";
import { go, place, toStudy } from "../router";
import type { Study } from "../types";
import { openImages } from "../viewer/opening";
import { ViewState } from "../viewer/state";
import { Viewport } from "../viewer/Viewport";
import { studies } from "../worklist/live";
import type { StudyCache } from "./loading";

interface PickerProps {
  id: string;
  onPick: (id: string) => void;
  onClose: () => void;
}

export function ComparePicker({ id, onPick, onClose }: PickerProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const words = useSignal("");
  const found = useSignal<readonly Study[]>(studies.peek());
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    const timer = setTimeout(() => {
      void api.studies({ q: words.value, state: ["ready"], limit: 50, offset: 0 }).then(({ items }) => (found.value = items));
    }, 150);
    return () => clearTimeout(timer);
  }, [words.value]);
  const others = found.value.filter((one) => one.id !== id && one.state === "ready");
  return (
    <dialog ref={dialog} class="sheet" onClose={onClose} aria-labelledby="compare-title">
      <h2 id="compare-title">Side by side with</h2>
      <label class="field">
        <span class="unseen">Search</span>
        <input type="search" placeholder="Search" value={words.value} onInput={(event) => (words.value = event.currentTarget.value)} />
      </label>
      <ul class="picker">
        {others.map((one) => (
          <li key={one.id}>
            <button type="button" class="quiet" onClick={() => onPick(one.id)}>
              <b>{one.label}</b>
              <span class="soft">arrived {clock(one.arrived)}</span>
              <span class="figure">{probability(one.probability)}</span>
            </button>
          </li>
        ))}
        {!others.length && <li class="soft">There is no other study to compare with. Add the earlier exam to the worklist first.</li>}
      </ul>
      <form method="dialog">
        <button type="submit" class="quiet">
          Close
        </button>
      </form>
    </dialog>
  );
}

interface PriorProps {
  id: string;
  main: ViewState;
  cache: StudyCache;
}

/** The other study's axial plane; its slices follow the main one's by millimetres, from where the two were linked. */
export function PriorView({ id, main, cache }: PriorProps) {
  const state = useMemo(() => new ViewState(), [id]);
  const study = useSignal<Study | null>(null);
  const linked = useSignal(true);
  const problem = useSignal("");
  const anchor = useRef({ main: 0, prior: 0 });
  const title = useComputed(() => [study.value?.label, identities.value.get(id)?.date].filter(Boolean).join(", "));

  useEffect(() => {
    const stop = new AbortController();
    void askIdentity(id);
    void (async () => {
      try {
        const row = await api.study(id);
        study.value = row;
        const { images } = await cache.load(row, stop.signal, () => {});
        await openImages(state, images, stop.signal);
        if (stop.signal.aborted) return;
        // The same share of the way from the base to the vertex, until the reader links them elsewhere.
        const size = main.volume.peek()?.size[2] ?? 1;
        state.goTo("axial", (main.slice("axial") / Math.max(1, size - 1)) * (images.volume.size[2] - 1));
        anchor.current = { main: main.slice("axial"), prior: state.slice("axial") };
      } catch (error) {
        if (!stop.signal.aborted) problem.value = messageOf(error);
      }
    })();
    return () => {
      stop.abort();
      state.source.peek()?.close();
      state.source.value = null;
    };
  }, [id, state, main, cache]);

  useSignalEffect(() => {
    const slice = main.slice("axial");
    const [volume, prior] = [main.volume.value, state.volume.value];
    if (!linked.value || !volume || !prior) return;
    const mm = (slice - anchor.current.main) * volume.step[2];
    state.goTo("axial", anchor.current.prior + mm / prior.step[2]);
  });
  useSignalEffect(() => {
    const { value } = main.window;
    if (state.volume.value?.unit === main.volume.value?.unit) state.window.value = value;
    state.inverted.value = main.inverted.value;
    state.maskShown.value = main.maskShown.value;
    state.maskOpacity.value = main.maskOpacity.value;
    state.smooth.value = main.smooth.value;
    state.tool.value = main.tool.value;
    state.poses.axial.value = main.poses.axial.value;
  });

  const link = (on: boolean): void => {
    anchor.current = { main: main.slice("axial"), prior: state.slice("axial") };
    linked.value = on;
  };
  const close = (): void => {
    const at = place.peek();
    if (at.at === "study") go(toStudy(at.id));
  };
  return (
    <div class="prior">
      {problem.value ? (
        <div class="waiting">
          <p class="problem">{problem.value}</p>
        </div>
      ) : (
        <Viewport state={state} axis="axial" title={title.value} crosshair={false} main={true} />
      )}
      <div class="prior-tools row">
        <label class="check">
          <input type="checkbox" checked={linked.value} onChange={(event) => link(event.currentTarget.checked)} />
          Scroll together
        </label>
        <button type="button" class="quiet small" onClick={close}>
          Close
        </button>
      </div>
    </div>
  );
}
