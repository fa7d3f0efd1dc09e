// Slices whose probability reaches the threshold.

import type { LabelName } from "../labels";
import type { SliceRow, Values } from "../types";

/** The nearest shown slice before or after `at` whose probability reaches the label's threshold; null where there is none. */
export function suspiciousFrom(
  slices: readonly SliceRow[],
  thresholds: Values,
  label: LabelName,
  at: number,
  direction: 1 | -1,
): number | null {
  const threshold = thresholds[label];
  if (threshold === null) return null;
  const ahead = slices
    .filter((slice) => (slice.probabilities[label] ?? -Infinity) >= threshold)
    .map((slice) => slice.display)
    .filter((shown) => shown !== null)
    .filter((shown) => (direction > 0 ? shown > at : shown < at));
  if (!ahead.length) return null;
  return direction > 0 ? Math.min(...ahead) : Math.max(...ahead);
}
