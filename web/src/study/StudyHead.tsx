// Above a study: its name, who read it, the way back and to its neighbours in the worklist.

import { clock, count } from "../format";
import { toStudy } from "../router";
import type { Study } from "../types";
import { Whose } from "../Whose";
import { neighbours } from "../worklist/live";

export function StudyHead({ row }: { row: Study }) {
  const { before, after } = neighbours(row.id);
  return (
    <div class="study-head">
      <a class="button quiet" href="#/" title="Back to the worklist (Esc)" aria-label="Worklist">
        ←<span class="hide-small"> Worklist</span>
      </a>
      <h1>
        <span class="unseen">Study </span>
        {row.label}
      </h1>
      <Whose id={row.id} />
      <span class="soft hide-small">
        {row.n_slices && row.n_slices > 1 ? `${count(row.n_slices, "slice")}, ` : ""}arrived {clock(row.arrived)}
      </span>
      {row.read_by && (
        <span class="tag read">
          Read by {row.read_by}
          <span class="hide-small"> at {clock(row.read_at)}</span>
        </span>
      )}
      <span class="grow" />
      <nav class="row" aria-label="Neighbouring studies">
        <a
          class={`button quiet ${before ? "" : "off"}`}
          href={before && toStudy(before.id)}
          aria-disabled={!before}
          title="Study before ( , )"
        >
          <span aria-hidden="true">‹</span>
          <span class="small-unseen">Previous</span>
        </a>
        <a class={`button quiet ${after ? "" : "off"}`} href={after && toStudy(after.id)} aria-disabled={!after} title="Study after ( . )">
          <span class="small-unseen">Next</span>
          <span aria-hidden="true">›</span>
        </a>
      </nav>
    </div>
  );
}
