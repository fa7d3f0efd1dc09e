// Hands the images of a study to whichever renderer draws them here.

import { chosenRenderer } from "./renderer";
import { PlainSource } from "./source";
import type { Images, ViewState } from "./state";

type NiivueModule = typeof import("./niivue-source");
let loading: Promise<NiivueModule> | null = null;

function loadNiivue(): Promise<NiivueModule> {
  loading ??= import("./niivue-source").catch((error: unknown) => {
    loading = null; // asked for again with the next study
    throw error;
  });
  return loading;
}

/** Fetch the viewer's code ahead of the first study, where it will be needed. */
export function prefetchViewer(): void {
  if (chosenRenderer().used === "niivue") void loadNiivue().catch(() => {});
}

/** Show images: by NiiVue where that runs here, else on a plain canvas. Nothing changes once `signal` is aborted. */
export async function openImages(state: ViewState, images: Images, signal: AbortSignal): Promise<void> {
  if (images.volume.unit === "HU" && chosenRenderer().used === "niivue") {
    try {
      await openNiivue(state, images, signal);
      return;
    } catch (error) {
      // A lost or refused context: the study is still shown.
      console.warn("NiiVue could not draw this volume; a plain canvas does", error);
    }
  }
  if (signal.aborted) return;
  state.source.peek()?.close();
  state.source.value = new PlainSource();
  state.show(images);
}

async function openNiivue(state: ViewState, images: Images, signal: AbortSignal): Promise<void> {
  const { NiivueSource } = await loadNiivue();
  const before = state.source.peek();
  const source = before instanceof NiivueSource ? before : await NiivueSource.open(() => state.redraws.value++);
  // A reader who has gone on to another study must never see this one's images under the other's name.
  if (!signal.aborted) await source.show(images.volume, state.window.peek(), state.inverted.peek(), signal);
  if (signal.aborted) {
    if (source !== before) source.close();
    return;
  }
  if (before !== source) before?.close();
  state.source.value = source;
  state.show(images);
}
