// The latest earlier exam of the same patient, offered for reading side by side.

import { toStudy } from "../router";
import type { StudyIdentity } from "../types";

interface Props {
  id: string;
  identity: StudyIdentity | null;
}

export function PriorOffer({ id, identity }: Props) {
  const [latest, ...earlier] = identity?.priors ?? [];
  if (!latest) return null;
  const same = latest.date === identity?.identity.date;
  return (
    <p class="prior-offer">
      <span>
        {same ? "Another exam of this patient on the same day" : "Earlier exam of this patient"}: <b>{latest.date}</b>{" "}
        <span class="soft">
          {latest.label}
          {earlier.length > 0 && `, and ${earlier.length} more`}
        </span>
      </span>
      <a class="button quiet small" href={toStudy(id, latest.id)}>
        Side by side
      </a>
    </p>
  );
}
