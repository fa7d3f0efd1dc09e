// The reader's verdict on a study: what is stored, what is being entered, and saving it.

import { type ReadonlySignal, type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api } from "../api";
import { messageOf } from "../errors";
import { LABELS, type LabelName, SUBTYPES } from "../labels";
import { reader } from "../session";
import type { Findings, Study, Verdict, VerdictWord } from "../types";

type Labels = Record<LabelName, boolean>;

export interface VerdictEntry {
  /** Stored ones, of all readers. */
  verdicts: ReadonlySignal<readonly Verdict[]>;
  editing: Signal<boolean>;
  choice: ReadonlySignal<VerdictWord | "">;
  labels: ReadonlySignal<Labels>;
  note: Signal<string>;
  problem: ReadonlySignal<string>;
  busy: ReadonlySignal<boolean>;
  /** Whether the model gave an answer to agree with. */
  assessed: boolean;
  /** Start to change the reader's own verdict. */
  edit: () => void;
  choose: (word: VerdictWord) => void;
  tick: (name: LabelName, on: boolean) => void;
  save: () => Promise<void>;
  takeBack: (name: string) => Promise<void>;
}

function modelLabels(findings: Findings | null): Labels {
  return Object.fromEntries(LABELS.map(({ name }) => [name, findings?.positive[name] === true])) as Labels;
}

export function useVerdict(study: Study, findings: Findings | null, onSaved: (study: Study) => void): VerdictEntry {
  const verdicts = useSignal<readonly Verdict[]>([]);
  const editing = useSignal(false);
  const choice = useSignal<VerdictWord | "">("");
  const labels = useSignal<Labels>(modelLabels(findings));
  const note = useSignal("");
  const problem = useSignal("");
  const busy = useSignal(false);
  const assessed = findings?.assessable === true;

  useEffect(() => {
    let closed = false;
    const show = (found: readonly Verdict[]): void => {
      if (closed) return;
      verdicts.value = found;
      editing.value = found.length === 0;
    };
    api.verdicts(study.id).then(show, () => show([]));
    return () => {
      closed = true;
    };
  }, [study.id, study.read_at]);

  const edit = (): void => {
    const mine = verdicts.value.find((one) => one.reader === reader.value) ?? verdicts.value.at(-1);
    choice.value = mine?.verdict ?? "";
    labels.value = { ...modelLabels(findings), ...known(mine?.labels) };
    note.value = mine?.note ?? "";
    editing.value = true;
  };

  const choose = (word: VerdictWord): void => {
    choice.value = word;
    if (word === "agree" && assessed) labels.value = modelLabels(findings);
  };

  const tick = (name: LabelName, on: boolean): void => {
    const next = { ...labels.value, [name]: on };
    if (name !== "any" && on) next.any = true;
    if (name === "any" && !on) for (const subtype of SUBTYPES) next[subtype.name] = false;
    labels.value = next;
  };

  const save = async (): Promise<void> => {
    if (busy.value) return;
    if (!choice.value) {
      problem.value = "Choose agree or disagree.";
      return;
    }
    if (!reader.value.trim()) {
      problem.value = "Enter the reader: a name or initials.";
      return;
    }
    busy.value = true;
    problem.value = "";
    try {
      const verdict = { reader: reader.value.trim(), verdict: choice.value, labels: labels.value, note: note.value.trim() };
      const saved = await api.setVerdict(study.id, verdict);
      verdicts.value = await api.verdicts(study.id);
      editing.value = false;
      onSaved(saved);
    } catch (error) {
      problem.value = messageOf(error);
    } finally {
      busy.value = false;
    }
  };

  const takeBack = async (name: string): Promise<void> => {
    onSaved(await api.clearVerdict(study.id, name));
    verdicts.value = await api.verdicts(study.id);
    if (!verdicts.value.length) {
      choice.value = "";
      editing.value = true;
    }
  };

  return { verdicts, editing, choice, labels, note, problem, busy, assessed, edit, choose, tick, save, takeBack };
}

function known(labels: Verdict["labels"] | undefined): Partial<Labels> {
  const pairs = Object.entries(labels ?? {}).filter((pair): pair is [string, boolean] => typeof pair[1] === "boolean");
  return Object.fromEntries(pairs) as Partial<Labels>;
}
