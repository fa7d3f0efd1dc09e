// The reader's own verdict: agree or disagree, what is seen, a note. It marks the study as read.

import { clock } from "../format";
import { LABELS, SUBTYPES } from "../labels";
import { reader, session } from "../session";
import type { Findings, Study, Verdict } from "../types";
import { useVerdict, type VerdictEntry } from "./useVerdict";

interface Props {
  study: Study;
  findings: Findings | null;
  onSaved: (study: Study) => void;
}

export function VerdictForm({ study, findings, onSaved }: Props) {
  const entry = useVerdict(study, findings, onSaved);
  return (
    <section class="verdict-form" aria-labelledby="verdict">
      <h3 id="verdict">{study.state === "refused" ? "Your verdict: right not to assess it?" : "Your verdict"}</h3>
      {entry.verdicts.value.map((one) => (
        <SavedVerdict key={one.reader} verdict={one} entry={entry} />
      ))}
      {entry.editing.value && <EntryForm entry={entry} />}
    </section>
  );
}

function SavedVerdict({ verdict, entry }: { verdict: Verdict; entry: VerdictEntry }) {
  return (
    <div class="saved-verdict">
      <p>
        <b>{verdict.verdict === "agree" ? "Agrees" : "Disagrees"}</b>
        {verdict.labels && <>: {namesOf(verdict.labels)}</>}
      </p>
      {verdict.note && <p class="reader-note">{verdict.note}</p>}
      <p class="soft">
        Read by {verdict.reader}, {clock(verdict.at)}
      </p>
      {!entry.editing.value && (
        <p class="row">
          <button type="button" class="quiet small" onClick={entry.edit}>
            Change
          </button>
          <button type="button" class="quiet small" onClick={() => void entry.takeBack(verdict.reader)}>
            Take back
          </button>
        </p>
      )}
    </div>
  );
}

function EntryForm({ entry }: { entry: VerdictEntry }) {
  const { choice, assessed, note, verdicts, editing } = entry;
  const submit = (event: Event): void => {
    event.preventDefault();
    void entry.save();
  };
  return (
    <form onSubmit={submit} noValidate>
      <div class="agree" role="radiogroup" aria-labelledby="verdict">
        {(["agree", "disagree"] as const).map((word) => (
          <label key={word} class={choice.value === word ? "chosen" : ""}>
            <input type="radio" name="verdict" value={word} checked={choice.value === word} onChange={() => entry.choose(word)} />
            {word === "agree" ? "Agree" : "Disagree"}
          </label>
        ))}
      </div>
      {(choice.value === "disagree" || !assessed) && <LabelBoxes entry={entry} />}
      <textarea
        class="verdict-note"
        aria-label="Note"
        placeholder="Note"
        rows={1}
        maxLength={2000}
        value={note.value}
        onInput={(event) => {
          note.value = event.currentTarget.value;
        }}
      />
      <div class="row save-row">
        {!session.value?.user && <ReaderField />}
        <button type="submit" class="primary" disabled={entry.busy.value}>
          Save verdict
        </button>
        {verdicts.value.length > 0 && (
          <button
            type="button"
            class="quiet"
            onClick={() => {
              editing.value = false;
            }}
          >
            Cancel
          </button>
        )}
      </div>
      <p class="problem" role="alert">
        {entry.problem.value}
      </p>
    </form>
  );
}

function LabelBoxes({ entry: { labels, tick } }: { entry: VerdictEntry }) {
  return (
    <fieldset class="seen">
      <legend>What is there</legend>
      {LABELS.map(({ name, display }) => (
        <label key={name} class={name === "any" ? "" : "sub"}>
          <input type="checkbox" checked={labels.value[name]} onChange={(event) => tick(name, event.currentTarget.checked)} />
          {display}
        </label>
      ))}
    </fieldset>
  );
}

function ReaderField() {
  return (
    <input
      class="grow"
      name="reader"
      aria-label="Reader"
      autocomplete="off"
      maxLength={80}
      placeholder="Reader's initials"
      value={reader.value}
      onInput={(event) => {
        reader.value = event.currentTarget.value;
      }}
    />
  );
}

function namesOf(labels: NonNullable<Verdict["labels"]>): string {
  const there = SUBTYPES.filter(({ name }) => labels[name] === true).map(({ display }) => display.toLowerCase());
  if (there.length) return there.join(", ");
  return labels.any === true ? "hemorrhage" : "no hemorrhage";
}
