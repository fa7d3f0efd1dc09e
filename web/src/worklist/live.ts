// The worklist as the server has it: asked for once, then kept current by server-sent events.

import { batch, signal } from "@preact/signals";
import { api, BASE, type StudyFilter } from "../api";
import { messageOf } from "../errors";
import { askIdentities } from "../identity";
import { isDone, type Study } from "../types";

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
/** A clock for running times; ticks once a second while the page is visible. */
export const now = signal(Date.now());

/** Called with a study that changed, or with null where it was deleted. */
export type Watcher = (study: Study | null, id: string) => void;

const watchers = new Set<Watcher>();

/** Follow every change of any study, whether or not the list shows it. Returns what ends it. */
export function watch(watcher: Watcher): () => void {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function notify(study: Study | null, id: string): void {
  for (const watcher of watchers) watcher(study, id);
}

/** Studies of the list that are done, before and after one. */
export function neighbours(id: string): { before: Study | undefined; after: Study | undefined } {
  const done = studies.value.filter(isDone);
  const at = done.findIndex((study) => study.id === id);
  return at < 0 ? { before: undefined, after: undefined } : { before: done[at - 1], after: done[at + 1] };
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

let request: Promise<void> | null = null;
let requestAgain = false;

/** Ask for the list; calls while a request is under way lead to one more after it. */
export function refresh(): Promise<void> {
  if (request !== null) {
    requestAgain = true;
    return request;
  }
  request = (async () => {
    try {
      const asked = filter();
      const found = await api.studies(asked);
      void askIdentities(asked).catch(() => {}); // the list says itself what is wrong
      batch(() => {
        studies.value = found.items;
        total.value = found.total;
        loaded.value = true;
        problem.value = "";
      });
    } catch (error) {
      problem.value = messageOf(error);
    } finally {
      request = null;
      if (requestAgain) {
        requestAgain = false;
        soon();
      }
    }
  })();
  return request;
}

let timer = 0;

function soon(): void {
  clearTimeout(timer);
  timer = window.setTimeout(() => void refresh(), 120);
}

let source: EventSource | null = null;
let retry = 0;

function connect(): void {
  if (source) return;
  source = new EventSource(`${BASE}/events`);
  source.addEventListener("open", () => {
    live.value = true;
    retry = 0;
    soon();
  });
  source.addEventListener("study", (event) => {
    const study = JSON.parse(event.data as string) as Study;
    // Updated at once where it stands in the list; its new place is asked for a moment later.
    const others = studies.value.filter((other) => other.id !== study.id || !study.duplicate_of);
    studies.value = others.map((other) => (other.id === study.id ? study : other));
    notify(study, study.id);
    soon();
  });
  source.addEventListener("deleted", (event) => {
    const { id } = JSON.parse(event.data as string) as { id: string };
    studies.value = studies.value.filter((other) => other.id !== id);
    notify(null, id);
    soon();
  });
  source.addEventListener("reset", () => soon());
  source.addEventListener("error", () => {
    live.value = false;
    if (source?.readyState === EventSource.CLOSED) {
      disconnect();
      retry = Math.min(30000, (retry || 500) * 2);
      setTimeout(() => document.visibilityState === "visible" && connect(), retry);
    }
  });
}

function disconnect(): void {
  source?.close();
  source = null;
  live.value = false;
}

/** Start; a hidden page holds no connection, as a browser has few to one server. */
export function start(): void {
  void refresh();
  connect();
  setInterval(() => {
    if (document.visibilityState === "visible") now.value = Date.now();
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") connect();
    else disconnect();
  });
}
