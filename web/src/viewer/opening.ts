// Chooses what draws a volume, and hands the volume over.

import { PlainSource, chosenRenderer } from "./source";
import type { Native, ViewState } from "./state";
import type { Volume } from "./volume";

type Drawing = typeof import("./niivue-source");
let loading: Promise<Drawing> | null = null;

function loadNiivue(): Promise<Drawing> {
  loading ??= import("./niivue-source");
  loading.catch(() => (loading = null));
  return loading;
}

/** Fetch the viewer's code ahead of the first study, where it will be needed. */
export function prefetchViewer(): void {
  if (chosenRenderer().used === "niivue") void loadNiivue().catch(() => {});
}

/** Show a volume: by NiiVue where that runs here, else on a plain canvas. */
export async function openVolume(
  state: ViewState,
  volume: Volume,
  mask: Volume | null,
  colours: readonly string[],
  native: Native,
  signal: AbortSignal,
): Promise<void> {
  if (volume.unit === "HU" && chosenRenderer().used === "niivue") {
    try {
      const { NiivueSource } = await loadNiivue();
      const had = state.source.peek();
      const source = had instanceof NiivueSource ? had : await NiivueSource.open(() => state.again.value++);
      // Who has gone on to another study meanwhile must never see this one's images under the other's name.
      if (signal.aborted) return source === had ? undefined : source.close();
      await source.show(volume, state, signal);
      if (signal.aborted) return source === had ? undefined : source.close();
      if (had !== source) had?.close();
      state.source.value = source;
      state.show(volume, mask, colours, native);
      return;
    } catch (error) {
      // A lost or refused context: the study is still shown.
      console.warn("NiiVue could not draw this volume; a plain canvas does", error);
    }
  }
  if (signal.aborted) return;
  state.source.peek()?.close();
  state.source.value = new PlainSource();
  state.show(volume, mask, colours, native);
}
