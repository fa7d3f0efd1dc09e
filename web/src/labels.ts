// The six labels and the windows, as ichor.labels and ichor.preparing.windows define them (a test compares the two); the
// stroke window is the page's own.

export type LabelName = "any" | "epidural" | "intraparenchymal" | "intraventricular" | "subarachnoid" | "subdural";

export interface Label {
  name: LabelName;
  abbreviation: string;
  display: string;
  colour: string;
}

export const LABELS: readonly Label[] = [
  { name: "any", abbreviation: "ICH", display: "Any hemorrhage", colour: "#e4572e" },
  { name: "epidural", abbreviation: "EDH", display: "Epidural", colour: "#f2a541" },
  { name: "intraparenchymal", abbreviation: "IPH", display: "Intraparenchymal", colour: "#d1495b" },
  { name: "intraventricular", abbreviation: "IVH", display: "Intraventricular", colour: "#6a8fd8" },
  { name: "subarachnoid", abbreviation: "SAH", display: "Subarachnoid", colour: "#4bb3a4" },
  { name: "subdural", abbreviation: "SDH", display: "Subdural", colour: "#9d6fc9" },
];

export const SUBTYPES: readonly Label[] = LABELS.slice(1);

/** Where no subtype reaches its threshold. */
export const NOT_DETERMINED = "type not determined";

/** Of a subtype that the model was measured on too few patients with. */
export const UNTRUSTED = "not to be relied on";

const BY_NAME = new Map<string, Label>(LABELS.map((label) => [label.name, label]));

/** The label of this name; "any" for an unknown name. */
export function labelOf(name: string): Label {
  return BY_NAME.get(name) ?? LABELS[0]!;
}

export interface Window {
  level: number;
  width: number;
}

export interface Preset extends Window {
  key: string;
  name: string;
  display: string;
}

export const PRESETS: readonly Preset[] = [
  { key: "1", name: "brain", display: "Brain", level: 40, width: 80 },
  { key: "2", name: "subdural", display: "Subdural", level: 80, width: 200 },
  { key: "3", name: "bone", display: "Bone", level: 400, width: 1800 },
  { key: "4", name: "wide", display: "Wide", level: 40, width: 380 },
  { key: "5", name: "stroke", display: "Stroke", level: 40, width: 40 },
];
