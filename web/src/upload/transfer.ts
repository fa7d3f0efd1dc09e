// Sends files in pieces, several at a time; can be paused, resumed (after a reload too) and cancelled.

import { type Signal, signal } from "@preact/signals";
import { ApiError, api } from "../api";
import { messageOf } from "../errors";
import { bytes, count } from "../format";
import type { Stack, Study } from "../types";
import { watch } from "../worklist/live";
import { areManyPictures, type Chosen, type Group, grouped } from "./collect";
import { forget, hashOf, remember, type UnfinishedUpload, unfinishedUploads } from "./unfinished";

const PIECE = 8 * 1024 * 1024;
const AT_ONCE = 4;
const MOST_TRIES = 6;

export type Stage = "sending" | "paused" | "files needed" | "finishing" | "done" | "failed";

export class Transfer {
  readonly stage: Signal<Stage>;
  readonly sent = signal(0);
  readonly message = signal("");
  readonly studies = signal<readonly Study[]>([]);
  readonly rate = signal(0);
  readonly total: number;
  private readonly count: number;
  id: string | null = null;
  private stop = new AbortController();
  private cancelled = false;
  private received: number[] = [];
  private startedAt = 0;
  private sentNow = 0;

  constructor(
    readonly title: string,
    private files: (Chosen | null)[],
    private readonly unfinished: UnfinishedUpload | null = null,
    private readonly stack: Stack | null = null,
  ) {
    this.count = files.length;
    this.total = unfinished ? unfinished.total : files.reduce((sum, one) => sum + (one?.file.size ?? 0), 0);
    this.id = unfinished?.id ?? null;
    this.stage = signal<Stage>(unfinished ? "files needed" : "sending");
  }

  get filesCount(): number {
    return this.count;
  }

  async start(): Promise<void> {
    this.stop = new AbortController();
    this.stage.value = "sending";
    this.message.value = "";
    this.startedAt = performance.now();
    this.sentNow = 0;
    try {
      await this.open();
      await this.sendAll();
      this.stage.value = "finishing";
      const answer = await api.completeUpload(this.id!);
      forget(this.id!);
      this.studies.value = answer.studies ?? [];
      this.stage.value = "done";
      this.files = [];
    } catch (error) {
      if (this.stop.signal.aborted) return;
      this.stage.value = error instanceof ApiError && error.status === 0 ? "paused" : "failed";
      this.message.value = messageOf(error);
      if (error instanceof ApiError && [400, 404, 410, 413, 422].includes(error.status) && this.id) forget(this.id);
    }
  }

  pause(): void {
    this.stop.abort();
    this.stage.value = "paused";
  }

  async cancel(): Promise<void> {
    this.cancelled = true;
    this.stop.abort();
    transfers.value = transfers.value.filter((one) => one !== this);
    if (!this.id || this.stage.value === "done") return;
    forget(this.id);
    await api.cancelUpload(this.id).catch(() => {}); // the server forgets it by itself in time
  }

  /** Resume after a reload, with the same files chosen again. Returns what is wrong with them, or an empty text. */
  resume(chosen: readonly Chosen[]): string {
    if (!this.unfinished) return "";
    const byHash = new Map(chosen.map((one) => [hashOf(one.path, one.file.size), one]));
    const found = this.unfinished.files.map(({ hash }) => byHash.get(hash) ?? null);
    const missing = found.filter((one) => one === null).length;
    if (missing) {
      return `These are not the same files: ${count(missing, "file")} of ${this.unfinished.files.length} not found among them. Choose the same folder or files again.`;
    }
    this.files = found;
    void this.start();
    return "";
  }

  private async open(): Promise<void> {
    if (this.id) {
      const state = await api.upload(this.id);
      this.received = state.files.map((file) => file.received);
    } else {
      const files = this.files as Chosen[];
      const state = await api.newUpload(
        files.map(({ path, file }) => ({ path, size: file.size })),
        this.stack,
      );
      if (this.cancelled) {
        await api.cancelUpload(state.id); // cancelled before the server had named it
        this.stop.signal.throwIfAborted();
      }
      this.id = state.id;
      this.received = files.map(() => 0);
      const hashes = files.map(({ path, file }) => ({ hash: hashOf(path, file.size), size: file.size }));
      remember({ id: state.id, when: Date.now(), total: this.total, files: hashes });
    }
    this.sent.value = this.received.reduce((a, b) => a + b, 0);
  }

  private async sendAll(): Promise<void> {
    const waiting = this.files.map((_, index) => index);
    const work = async (): Promise<void> => {
      for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) await this.sendFile(index);
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, waiting.length) }, work));
  }

  private async sendFile(index: number): Promise<void> {
    const { file } = this.files[index]!;
    let tries = 0;
    while (this.received[index]! < file.size) {
      this.stop.signal.throwIfAborted();
      const offset = this.received[index]!;
      try {
        const piece = file.slice(offset, offset + PIECE);
        const { received } = await api.putChunk(this.id!, index, offset, piece, this.stop.signal);
        this.advance(index, received);
        tries = 0;
      } catch (error) {
        if (this.stop.signal.aborted) throw error;
        if (error instanceof ApiError && error.status === 409 && typeof error.detail["received"] === "number") {
          this.advance(index, error.detail["received"]);
          if (++tries > MOST_TRIES) throw error;
          continue;
        }
        const temporary = error instanceof ApiError && (error.status === 0 || error.status >= 500 || error.status === 429);
        if (!temporary || ++tries > MOST_TRIES) throw error;
        await new Promise((done) => setTimeout(done, Math.min(8000, 250 * 2 ** tries)));
      }
    }
  }

  private advance(index: number, received: number): void {
    const more = received - this.received[index]!;
    this.received[index] = received;
    this.sent.value += more;
    this.sentNow += more;
    const seconds = (performance.now() - this.startedAt) / 1000;
    if (seconds > 0.5) this.rate.value = this.sentNow / seconds;
  }
}

export const transfers = signal<readonly Transfer[]>([]);
// That a study was uploaded before is known only once it was read.
watch((study) => {
  if (!study) return;
  for (const { studies } of transfers.value) {
    if (studies.value.some((one) => one.id === study.id)) studies.value = studies.value.map((one) => (one.id === study.id ? study : one));
  }
});

/** Why something chosen cannot be sent at all. */
export const refusal = signal("");

/** Pictures of which the reader is asked whether they are one exam. */
export const asked = signal<Group | null>(null);

let limits: Record<string, number> | null = null;

/** Start to send what was chosen. */
export async function submit(chosen: readonly Chosen[]): Promise<void> {
  refusal.value = "";
  if (!chosen.length) {
    refusal.value = "Nothing was found in it: the folder is empty.";
    return;
  }
  limits ??= await api.limits().then(
    (bounds) => bounds.limits,
    () => null,
  );
  for (const group of grouped(chosen)) {
    if (areManyPictures(group)) asked.value = group;
    else begin(group, null);
  }
}

/** Send pictures as the slices of one exam, or each as its own. */
export function answer(group: Group, stack: Stack | null): void {
  asked.value = null;
  begin(group, stack);
}

function begin(group: Group, stack: Stack | null): void {
  const why = tooMuch(group);
  if (why) {
    refusal.value = `${group.title}: ${why}`;
    return;
  }
  const transfer = new Transfer(group.title, group.files, null, stack);
  transfers.value = [...transfers.value, transfer];
  void transfer.start();
}

/** Send the simulated exam that ships with the server, as if it had been chosen. */
export async function submitExample(): Promise<void> {
  try {
    const file = new File([await api.example()], "simulated-exam.zip", { type: "application/zip" });
    await submit([{ path: file.name, file }]);
  } catch (error) {
    refusal.value = messageOf(error);
  }
}

function tooMuch({ files }: Group): string {
  if (!limits) return "";
  const { file_bytes: one = Infinity, total_bytes: all = Infinity, files: most = Infinity } = limits;
  const empty = files.every(({ file }) => file.size === 0);
  if (empty) return "found nothing in it (0 bytes); choose a file that holds a study";
  if (files.length > most)
    return `found ${files.length.toLocaleString("en")} files; at most ${most.toLocaleString("en")} are read at a time`;
  const large = files.find(({ file }) => file.size > one);
  if (large) return `found a file of ${bytes(large.file.size)}; at most ${bytes(one)} are read`;
  const sum = files.reduce((total, { file }) => total + file.size, 0);
  return sum > all ? `found ${bytes(sum)}; at most ${bytes(all)} are read at a time` : "";
}

/** Show the uploads that a reload or a closed page left unfinished, as far as the server still has them. */
export async function findUnfinished(): Promise<void> {
  for (const unfinished of unfinishedUploads()) {
    if (transfers.value.some((one) => one.id === unfinished.id)) continue;
    try {
      const state = await api.upload(unfinished.id);
      const transfer = new Transfer(
        "Unfinished upload",
        unfinished.files.map(() => null),
        unfinished,
      );
      transfer.sent.value = state.files.reduce((sum, file) => sum + file.received, 0);
      transfers.value = [...transfers.value, transfer];
    } catch (error) {
      if (error instanceof ApiError && error.status !== 0 && error.status !== 401) forget(unfinished.id);
    }
  }
}
