// The reader's own verdict: agree or disagree, what is seen, a note. It marks the study as read.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api } from "../api";
import { messageOf } from "../errors";
import { clock } from "../format";
import { LABELS, type LabelName, SUBTYPES } from "../labels";
import { reader, session } from "../session";
import type { Findings, Study, Verdict } from "../types";

type Labels = Record<LabelName, boolean>;

function modelLabels(findings: Findings | null): Labels {
  return Object.fromEntries(LABELS.map(({ name }) => [name, findings?.positive[name] === true])) as Labels;
}

interface Props {
  study: Study;
  findings: Findings | null;
  onSaved: (study: Study) => void;
}

export function VerdictForm({ study, findings, onSaved }: Props) {
  const verdicts = useSignal<readonly Verdict[]>([]);
  const editing = useSignal(false);
  const choice = useSignal<"" | "agree" | "disagree">("");
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

  const choose = (word: "agree" | "disagree"): void => {
    choice.value = word;
    if (word === "agree" && assessed) labels.value = modelLabels(findings);
  };

  const tick = (name: LabelName, on: boolean): void => {
    const next = { ...labels.value, [name]: on };
    if (name !== "any" && on) next.any = true;
    if (name === "any" && !on) for (const subtype of SUBTYPES) next[subtype.name] = false;
    labels.value = next;
  };

  const save = async (event: Event): Promise<void> => {
    event.preventDefault();
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

  return (
    <section class="verdict-form" aria-labelledby="verdict">
      <h3 id="verdict">{study.state === "refused" ? "Your verdict: right not to assess it?" : "Your verdict"}</h3>
      {verdicts.value.map((one) => (
        <div class="saved-verdict" key={one.reader}>
          <p>
            <b>{one.verdict === "agree" ? "Agrees" : "Disagrees"}</b>
            {one.labels && <>: {namesOf(one.labels)}</>}
          </p>
          {one.note && <p class="reader-note">{one.note}</p>}
          <p class="soft">
            Read by {one.reader}, {clock(one.at)}
          </p>
          {!editing.value && (
            <p class="row">
              <button type="button" class="quiet small" onClick={edit}>
                Change
              </button>
              <button type="button" class="quiet small" onClick={() => void takeBack(one.reader)}>
                Take back
              </button>
            </p>
          )}
        </div>
      ))}
      {editing.value && (
        <form onSubmit={(event) => void save(event)} noValidate>
          <div class="agree" role="radiogroup" aria-labelledby="verdict">
            {(["agree", "disagree"] as const).map((word) => (
              <label key={word} class={choice.value === word ? "chosen" : ""}>
                <input type="radio" name="verdict" value={word} checked={choice.value === word} onChange={() => choose(word)} />
                {word === "agree" ? "Agree" : "Disagree"}
              </label>
            ))}
          </div>
          {(choice.value === "disagree" || !assessed) && (
            <fieldset class="seen">
              <legend>What is there</legend>
              {LABELS.map(({ name, display }) => (
                <label key={name} class={name === "any" ? "" : "sub"}>
                  <input type="checkbox" checked={labels.value[name]} onChange={(event) => tick(name, event.currentTarget.checked)} />
                  {display}
                </label>
              ))}
            </fieldset>
          )}
          <label class="field">
            Note
            <textarea rows={2} maxLength={2000} value={note.value} onInput={(event) => (note.value = event.currentTarget.value)} />
          </label>
          {session.value?.user ? null : (
            <label class="field">
              Reader
              <input
                name="reader"
                autocomplete="off"
                maxLength={80}
                placeholder="name or initials"
                value={reader.value}
                onInput={(event) => (reader.value = event.currentTarget.value)}
              />
            </label>
          )}
          <p class="row">
            <button type="submit" class="primary" disabled={busy.value}>
              Save verdict
            </button>
            {verdicts.value.length > 0 && (
              <button type="button" class="quiet" onClick={() => (editing.value = false)}>
                Cancel
              </button>
            )}
          </p>
          <p class="problem" role="alert">
            {problem.value}
          </p>
        </form>
      )}
    </section>
  );
}

function known(labels: Verdict["labels"] | undefined): Partial<Labels> {
  const pairs = Object.entries(labels ?? {}).filter((pair): pair is [string, boolean] => typeof pair[1] === "boolean");
  return Object.fromEntries(pairs) as Partial<Labels>;
}

function namesOf(labels: NonNullable<Verdict["labels"]>): string {
  const there = SUBTYPES.filter(({ name }) => labels[name] === true).map(({ display }) => display.toLowerCase());
  if (there.length) return there.join(", ");
  return labels.any === true ? "hemorrhage" : "no hemorrhage";
}
