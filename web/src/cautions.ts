// Notices that put the whole result in doubt, as ichor.notices lists them; a test compares the two.

export interface Caution {
  code: string;
  /** Over its sentence, on the page of a study. */
  title: string;
  /** In the worklist. */
  chip: string;
}

export const CAUTIONS: readonly Caution[] = [
  { code: "contrast", title: "Contrast agent", chip: "contrast" },
  { code: "metal", title: "Metal", chip: "metal" },
  { code: "unlike_training", title: "Unlike the training exams", chip: "unlike training" },
  { code: "picture_window_unknown", title: "Window not known", chip: "window not known" },
];

/** Says why nothing is outlined; it stands in the summary, too. */
export const NOTHING_OUTLINED = "nothing_outlined";

export function cautionOf(code: string): Caution | undefined {
  return CAUTIONS.find((caution) => caution.code === code);
}
