// Beside the images: what was found, the reader's verdict, downloads.

import type { RefObject } from "preact";
import type { Study } from "../types";
import type { ViewState } from "../viewer/state";
import { Downloads } from "./Downloads";
import { Bars, Facts, Regions, Warnings } from "./Findings";
import type { Loaded } from "./loading";
import { regionCentre } from "./regions";
import { Summary } from "./Summary";
import type { Choices } from "./useChoices";
import { VerdictForm } from "./VerdictForm";

interface Props {
  view: ViewState;
  row: Study;
  found: Loaded | null;
  choices: Choices;
  /** Around the reader's verdict, for the key that leads to it. */
  verdict: RefObject<HTMLDivElement>;
  onSaved: (study: Study) => void;
}

export function Panel({ view, row, found, choices, verdict, onSaved }: Props) {
  const findings = found?.findings ?? null;
  const goToRegion = (region: number): void => {
    const mask = found?.images.mask;
    const centre = mask && regionCentre(mask, region);
    if (centre) view.point.value = centre;
  };
  const showLabel = (label: Choices["label"]["value"]): void => {
    choices.label.value = label;
  };
  return (
    <aside class="panel" aria-label="Findings">
      <Summary study={row} findings={findings} heated={Boolean(found?.images.heat)} />
      {(findings || row.state === "refused") && !row.duplicate_of && (
        <div ref={verdict}>
          <VerdictForm key={row.id} study={row} findings={findings} onSaved={onSaved} />
        </div>
      )}
      {findings?.assessable && <Bars findings={findings} shown={choices.label.value} onShow={showLabel} />}
      {findings && <Regions findings={findings} onGo={goToRegion} />}
      {findings?.assessable && <Warnings findings={findings} />}
      {findings && <Downloads row={row} findings={findings} />}
      {findings && <Facts study={row} findings={findings} />}
      <p class="research">Research use, not a medical device. Every exam must be read by a person who can read head CT.</p>
    </aside>
  );
}
