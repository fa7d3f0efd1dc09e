// The worklist as the server has it: asked for once, then kept current by server-sent events.

import { batch, signal } from "@preact/signals";
import { ApiError, BASE, type StudyFilter, api } from "../api";
import type { Study } from "../types";

export const PAGE = 100;

export type Show = "all" | "flagged" | "unread" | "read" | "waiting" | "refused";

export const studies = signal<readonly Study[]>([]);
export const total = signal(0);
export const show = signal<Show>("all");
export const search = signal("");
export const verdictIs = signal<"" | "agree" | "disagree">("");
export const limit = signal(PAGE);
export const loaded = signal(false);
export const problem = signal("");
/** Whether changes come in as they happen. */
export const live = signal(false);
/** A clock for the times that run on; ticks once a second while somebody looks. */
export const now = signal(Date.now());

/** Told of every change of any study, whether or not the list shows it. */
const watchers = new Set<(study: Study | null, id: string) => void>();

export function watch(watcher: (study: Study | null, id: string) => void): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function filter(): StudyFilter {
  const chosen = show.value;
  return {
    q: search.value.trim(),
    verdict: verdictIs.value || undefined,
    flagged: chosen === "flagged" ? true : undefined,
    read: chosen === "read" ? true : chosen === "unread" ? false : undefined,
    state: chosen === "refused" ? ["refused"] : chosen === "waiting" ? ["queued", "reading", "detecting"] : undefined,
    limit: limit.value,
    offset: 0,
  };
}

let asking: Promise<void> | null = null;
let askAgain = false;

/** Ask for the list; calls that come while one is under way end in one more. */
export function refresh(): Promise<void> {
  if (asking) {
    askAgain = true;
    return asking;
  }
  asking = (async () => {
    try {
      const found = await api.studies(filter());
      batch(() => {
        studies.value = found.items;
        total.value = found.total;
        loaded.value = true;
        problem.value = "";
      });
    } catch (error) {
      problem.value = error instanceof ApiError ? error.message : String(error);
    } finally {
      asking = null;
      if (askAgain) {
        askAgain = false;
        soon();
      }
    }
  })();
  return asking;
}

let timer = 0;

function soon(): void {
  clearTimeout(timer);
  timer = window.setTimeout(() => void refresh(), 120);
}

let source: EventSource | null = null;
let retry = 0;

function listen(): void {
  if (source) return;
  source = new EventSource(`${BASE}/events`);
  source.addEventListener("open", () => {
    live.value = true;
    retry = 0;
    soon();
  });
  source.addEventListener("study", (event) => {
    const study = JSON.parse(event.data as string) as Study;
    // At once in its place; where it now belongs is asked for a moment later.
    const others = studies.value.filter((other) => other.id !== study.id || !study.duplicate_of);
    studies.value = others.map((other) => (other.id === study.id ? study : other));
    watchers.forEach((tell) => tell(study, study.id));
    soon();
  });
  source.addEventListener("deleted", (event) => {
    const { id } = JSON.parse(event.data as string) as { id: string };
    studies.value = studies.value.filter((other) => other.id !== id);
    watchers.forEach((tell) => tell(null, id));
    soon();
  });
  source.addEventListener("reset", () => soon());
  source.addEventListener("error", () => {
    live.value = false;
    if (source?.readyState === EventSource.CLOSED) {
      silence();
      retry = Math.min(30000, (retry || 500) * 2);
      setTimeout(() => document.visibilityState === "visible" && listen(), retry);
    }
  });
}

function silence(): void {
  source?.close();
  source = null;
  live.value = false;
}

/** Begin; a page that nobody sees does not hold a connection, as a browser has few to one server. */
export function begin(): void {
  void refresh();
  listen();
  setInterval(() => {
    if (document.visibilityState === "visible") now.value = Date.now();
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") listen();
    else silence();
  });
}

export function end(): void {
  silence();
}
