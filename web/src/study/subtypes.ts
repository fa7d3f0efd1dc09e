// Which subtypes are named, of an exam and of a region, as ichor.reporting.words has it.

import { probability } from "../format";
import { labelOf, NOT_DETERMINED, UNTRUSTED } from "../labels";
import type { Findings, Region, Subtype } from "../types";

/** Notice of findings whose heat map is Grad-CAM: their model draws no map. */
export const GRAD_CAM = "grad_cam";

/** From this probability on a region's subtype is named. */
const NAMED_FROM = 0.7;

/** The one or two subtypes to name, most probable first. */
export function likely({ subtypes, probabilities }: Findings): Subtype[] {
  const p = ({ label }: Subtype): number => probabilities[labelOf(label).name] ?? 0;
  return (subtypes ?? []).filter((one) => one.likely).sort((a, b) => p(b) - p(a));
}

/** Why subtypes are not to be relied on, by their names. */
export function untrustedOf({ subtypes }: Findings): Map<string, string> {
  return new Map((subtypes ?? []).filter((one) => !one.trusted).map(({ label, reason }) => [label, reason ?? ""]));
}

export function regionName(region: Region, untrusted: ReadonlyMap<string, string>): string {
  if (!isNamed(region)) return NOT_DETERMINED.charAt(0).toUpperCase() + NOT_DETERMINED.slice(1);
  const text = `${labelOf(region.label).display} ${probability(region.probabilities[region.label])}`;
  return untrusted.has(region.label) ? `${text}, ${UNTRUSTED}` : text;
}

/** That of the subtype where it is named, else that of any hemorrhage. */
export function regionColour(region: Region): string {
  return labelOf(isNamed(region) ? region.label : "any").colour;
}

function isNamed({ label, probabilities }: Region): boolean {
  return (probabilities[label] ?? 0) >= NAMED_FROM;
}

/** What the heat map is, where hemorrhage is suspected and nothing outlined; null where there is none. */
export function heatName(findings: Findings): string | null {
  if (findings.positive.any !== true || findings.regions.length > 0) return null;
  if (findings.warnings.some(({ code }) => code === GRAD_CAM)) return "Grad-CAM";
  return locates(findings) ? "Heat map" : null;
}

/** Whether the model draws a map: without one there are no outlines, no volume and no mask. */
export function locates({ warnings }: Findings): boolean {
  return !warnings.some(({ code }) => code === "model_does_not_locate");
}
