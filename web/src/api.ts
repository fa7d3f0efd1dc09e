// The documented API, typed. Every call that fails throws an ApiError with the server's message.

import type { LabelName } from "./labels";
import type { Findings, PatientIdentity, Slices, Stack, State, Study, StudyIdentity, Verdict, VerdictWord } from "./types";

export const BASE = "api/v1";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly detail: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

let onUnauthorised: () => void = () => {};

/** What is done where the server answers 401: the page must ask for a login. */
export function whenUnauthorised(act: () => void): void {
  onUnauthorised = act;
}

export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(`${BASE}${path}`, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server cannot be reached. Is it running, and is this computer connected?");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) onUnauthorised();
  throw await errorOf(answer);
}

async function errorOf(answer: Response): Promise<ApiError> {
  try {
    const body = (await answer.json()) as { code?: string; message?: string };
    return new ApiError(
      answer.status,
      body.code ?? "error",
      body.message ?? `The server answered ${answer.status}.`,
      body as Record<string, unknown>,
    );
  } catch {
    return new ApiError(answer.status, "error", `The server answered ${answer.status}.`);
  }
}

async function json<T>(path: string, init?: RequestInit): Promise<T> {
  return (await ask(path, init)).json() as Promise<T>;
}

function send(method: string, body: unknown): RequestInit {
  return { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
}

export interface StudyFilter {
  state?: readonly State[];
  q?: string;
  flagged?: boolean;
  verdict?: VerdictWord;
  read?: boolean;
  limit: number;
  offset: number;
}

function queryOf(filter: StudyFilter): URLSearchParams {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(filter)) {
    if (value === undefined || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) query.append(key, String(one));
  }
  return query;
}

export interface Session {
  guarded: boolean;
  methods: ("token" | "password")[];
  logged_in: boolean;
  /** Whether the server shows whose studies they are. */
  shows_identity: boolean;
  user: string | null;
}

export interface UploadState {
  id: string;
  files: { index: number; received: number }[];
}

export interface Model {
  version: string;
  bundle: { name: string; version: string; limits?: string[]; summary?: string };
  card_html: string;
}

export interface BundleFigure {
  name: string;
  value: number | null;
  low: number | null;
  high: number | null;
  unit: string;
}

/** A model of the server. */
export interface Bundle {
  sha256: string;
  name: string;
  version: string;
  description: string;
  licence: string;
  trained_on: string[];
  calibrated: boolean;
  measured: BundleFigure[];
  restrictions: string[];
  chosen: boolean;
  /** Why it cannot be chosen. */
  reason: string | null;
}

export interface Limits {
  limits: Record<string, number>;
  keep_days: number;
}

export interface NewVerdict {
  reader: string;
  verdict: VerdictWord;
  labels: Record<LabelName, boolean> | null;
  note: string;
}

export const api = {
  studies: (filter: StudyFilter): Promise<{ total: number; items: Study[] }> => json(`/studies?${queryOf(filter)}`),
  identities: (filter: StudyFilter): Promise<{ items: Record<string, PatientIdentity> }> => json(`/identities?${queryOf(filter)}`),
  identity: (id: string): Promise<StudyIdentity> => json(`/studies/${id}/identity`),
  study: (id: string): Promise<Study> => json(`/studies/${id}`),
  findings: (id: string, signal?: AbortSignal): Promise<Findings> => json(`/studies/${id}/findings`, { signal: signal ?? null }),
  slices: (id: string, signal?: AbortSignal): Promise<Slices> => json(`/studies/${id}/slices`, { signal: signal ?? null }),
  name: (id: string, alias: string | null): Promise<Study> => json(`/studies/${id}`, send("PATCH", { alias })),
  remove: (id: string): Promise<Response> => ask(`/studies/${id}`, { method: "DELETE" }),
  chooseSeries: (id: string, series: string): Promise<Study> => json(`/studies/${id}/series`, send("POST", { series })),
  verdicts: (id: string): Promise<Verdict[]> => json(`/studies/${id}/verdicts`),
  setVerdict: (id: string, verdict: NewVerdict): Promise<Study> => json(`/studies/${id}/verdict`, send("PUT", verdict)),
  clearVerdict: (id: string, reader: string): Promise<Study> =>
    json(`/studies/${id}/verdict?${new URLSearchParams({ reader })}`, { method: "DELETE" }),

  newUpload: (files: { path: string; size: number }[], stack: Stack | null): Promise<UploadState> =>
    json("/uploads", send("POST", { files, stack })),
  upload: (id: string): Promise<UploadState> => json(`/uploads/${id}`),
  putChunk: (id: string, index: number, offset: number, chunk: Blob, signal: AbortSignal): Promise<{ received: number }> =>
    json(`/uploads/${id}/files/${index}?offset=${offset}`, {
      method: "PUT",
      headers: { "content-type": "application/octet-stream" },
      body: chunk,
      signal,
    }),
  completeUpload: (id: string): Promise<{ studies?: Study[] }> => json(`/uploads/${id}/complete`, { method: "POST" }),
  cancelUpload: (id: string): Promise<Response> => ask(`/uploads/${id}`, { method: "DELETE" }),

  /** The simulated exam that ships with the server. */
  example: async (): Promise<Blob> => (await ask("/example.zip")).blob(),

  session: (): Promise<Session> => json("/session"),
  login: (credentials: { token?: string; user?: string; password?: string }): Promise<unknown> => json("/login", send("POST", credentials)),
  logout: (): Promise<Response> => ask("/logout", { method: "POST" }),
  model: (): Promise<Model> => json("/model"),
  bundles: (): Promise<{ items: Bundle[] }> => json("/bundles"),
  chooseBundle: (sha256: string): Promise<{ items: Bundle[] }> => json("/bundles/chosen", send("PUT", { sha256 })),
  limits: (): Promise<Limits> => json("/limits"),
};

export function fileAddress(id: string, name: string): string {
  return `${BASE}/studies/${id}/${name}`;
}
