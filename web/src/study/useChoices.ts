// What the reader has chosen on the page of a study.

import { type Signal, useSignal } from "@preact/signals";
import type { LabelName } from "../labels";
import type { Axis } from "../viewer/volume";

export interface Choices {
  /** Whose probabilities the strip of slices shows. */
  label: Signal<LabelName>;
  /** Whether the coronal and sagittal planes are shown too. */
  threePlanes: Signal<boolean>;
  /** The plane that is shown large. */
  large: Signal<Axis>;
  /** Whether the reader is choosing a study to compare with. */
  picking: Signal<boolean>;
}

export function useChoices(): Choices {
  return {
    label: useSignal<LabelName>("any"),
    threePlanes: useSignal(window.matchMedia("(min-width: 900px)").matches),
    large: useSignal<Axis>("axial"),
    picking: useSignal(false),
  };
}
