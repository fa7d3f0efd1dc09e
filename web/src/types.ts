// What the API answers (see /api/v1/openapi.json).

import type { LabelName } from "./labels";

export type Values = Record<LabelName, number | null>;
export type Flags = Record<LabelName, boolean | null>;

export type State = "queued" | "reading" | "detecting" | "ready" | "refused";

export type VerdictWord = "agree" | "disagree";

export interface Verdict {
  reader: string;
  verdict: VerdictWord;
  labels: Partial<Record<LabelName, boolean | null>> | null;
  note: string;
  at: string;
}

export interface Study {
  id: string;
  label: string;
  alias: string | null;
  kind: "exam" | "picture" | null;
  state: State;
  place: number | null;
  arrived: string;
  waited_s: number;
  took_s: number | null;
  n_slices: number | null;
  probability: number | null;
  flagged: boolean;
  uncertain: boolean | null;
  probabilities: Values | null;
  positive: Flags | null;
  /** The one or two likely ones; empty: not determined; null: not assessed, or before this was kept. */
  subtypes: NamedSubtype[] | null;
  volume_ml: number | null;
  warnings_n: number;
  /** Codes of notices that put the result in doubt. */
  cautions: string[];
  refusal: { code: string; message: string } | null;
  /** Of a refused study: series that may be assessed instead. */
  series: OfferedSeries[];
  read_by: string | null;
  read_at: string | null;
  verdict: VerdictWord | null;
  duplicate_of: string | null;
}

/** Whose study it is, as its header says; empty where that does not say. */
export interface PatientIdentity {
  name: string;
  patient_id: string;
  accession: string;
  date: string;
  description: string;
}

export interface StudyIdentity {
  identity: PatientIdentity;
  /** Assessed exams of the same patient that are not later, the latest first. */
  priors: { id: string; label: string; date: string }[];
}

export interface OfferedSeries {
  series: string;
  images: number;
  kernel: string;
  thickness: string;
  /** Whether it has a picture, and may be assessed. */
  picture: boolean;
  reason: string;
}

/** How the pictures of an upload lie in one exam. */
export interface Stack {
  step_mm: number;
  spacing_mm: number | null;
  top_first: boolean;
}

export interface NamedSubtype {
  label: string;
  /** Whether the model was measured on enough patients with it. */
  trusted: boolean;
}

/** Whether a study was processed: assessed, or refused. */
export function isDone({ state }: Study): boolean {
  return state === "ready" || state === "refused";
}

export interface Notice {
  code: string;
  message: string;
  slices?: number[] | null;
}

export interface Region {
  label: string;
  probabilities: Record<string, number>;
  volume_ml: number | null;
  slices: number[];
  bbox_voxels: number[];
}

export interface Subtype extends NamedSubtype {
  likely: boolean;
  reason: string | null;
}

export interface Findings {
  kind: "exam" | "picture" | null;
  n_slices: number;
  spacing_mm: number[] | null;
  probabilities: Values;
  thresholds: Values;
  positive: Flags;
  /** Absent from findings of before. */
  subtypes?: Subtype[];
  uncertain: boolean | null;
  uncertainty: string | null;
  regions: Region[];
  volume_ml: number | null;
  assessable: boolean;
  warnings: Notice[];
  bundle: { name: string; version: string; sha256: string } | null;
  seconds: Record<string, number | null>;
}

/** A native slice, and where it lies in the shown volume (null where that leaves it out). */
export interface SliceRow {
  index: number;
  display: number | null;
  position_mm: number | null;
  probabilities: Values;
}

export interface Slices {
  display: {
    shape: number[];
    spacing_mm: number[] | null;
    source: (number | null)[];
    /** Whether left and right are known. */
    orientation_known: boolean;
    suspicious: number;
    /** DICOM instance number of each native slice; null for input without. */
    instances: (number | null)[] | null;
    /** `kernel` and `slice thickness`; without what the header does not say. */
    acquisition: Record<string, string>;
  };
  slices: SliceRow[];
}
