// One study: its images beside what was found.

import { useCallback, useRef } from "preact/hooks";
import { go, toStudy } from "../router";
import { ComparePicker } from "./Compare";
import type { Desk } from "./desk";
import { Panel } from "./Panel";
import { PriorOffer } from "./PriorOffer";
import { StudyHead } from "./StudyHead";
import { useActions, useKeys } from "./useActions";
import { useChoices } from "./useChoices";
import { useIdentity } from "./useIdentity";
import { useImages } from "./useImages";
import { useSpokenSlice } from "./useSpokenSlice";
import { useStudy } from "./useStudy";
import { Viewer } from "./Viewer";

interface Props {
  id: string;
  /** Identifier of the study to compare with. */
  prior: string | null;
  desk: Desk;
}

export function StudyPage({ id, prior, desk }: Props) {
  const { view, cache } = desk;
  const { study, problem } = useStudy(id, cache);
  const images = useImages(id, study, desk);
  const identity = useIdentity(id, study.value?.state);
  const choices = useChoices();
  const verdict = useRef<HTMLDivElement>(null);
  const focusVerdict = useCallback(() => verdict.current?.querySelector<HTMLElement>("input, button")?.focus(), []);
  const actions = useActions({ id, prior, view, loaded: images.loaded, choices, focusVerdict });
  useKeys(view, actions);
  const spoken = useSpokenSlice(view, images.loaded, choices.label);

  const row = study.value;
  const message = images.problem.value || problem.value;
  if (!row) return <Absent problem={message} />;
  return (
    <main class={`study ${row.kind === "picture" ? "picture" : ""}`} id="content">
      <StudyHead row={row} />
      {!prior && row.state === "ready" && <PriorOffer id={id} identity={identity.value} />}
      <p class="unseen" aria-live="polite">
        {spoken.value}
      </p>
      <div class="study-grid">
        <Viewer desk={desk} row={row} images={images} choices={choices} actions={actions} prior={prior} problem={message} />
        <Panel
          view={view}
          row={row}
          found={images.loaded.value}
          choices={choices}
          verdict={verdict}
          onSaved={(saved) => {
            study.value = saved;
          }}
        />
      </div>
      {choices.picking.value && (
        <ComparePicker
          id={id}
          onClose={() => {
            choices.picking.value = false;
          }}
          onPick={(other) => {
            choices.picking.value = false;
            go(toStudy(id, other));
          }}
        />
      )}
    </main>
  );
}

/** While the study is not there yet, or where it cannot be had. */
function Absent({ problem }: { problem: string }) {
  return (
    <main class="alone">
      {problem ? (
        <p class="problem" role="alert">
          {problem}
        </p>
      ) : (
        <p class="soft">Loading</p>
      )}
    </main>
  );
}
