// What the reader has chosen on the page of a study.

import { type Signal, useSignal } from "@preact/signals";
import type { LabelName } from "../labels";
import type { Axis } from "../viewer/volume";

/** The axial plane alone; with the coronal and sagittal ones; or in the brain, subdural and bone windows side by side. */
export type Layout = "single" | "planes" | "windows";

export interface Choices {
  /** Whose probabilities the strip of slices shows. */
  label: Signal<LabelName>;
  layout: Signal<Layout>;
  /** The plane that is shown large among the three. */
  large: Signal<Axis>;
  /** Whether the reader is choosing a study to compare with. */
  picking: Signal<boolean>;
}

export function useChoices(): Choices {
  return {
    label: useSignal<LabelName>("any"),
    layout: useSignal<Layout>(window.matchMedia("(min-width: 900px)").matches ? "planes" : "single"),
    large: useSignal<Axis>("axial"),
    picking: useSignal(false),
  };
}
