// The likely subtypes in words: the untrusted ones pale and marked, "type not determined" where there is none.

import { labelOf, NOT_DETERMINED, UNTRUSTED } from "./labels";
import type { NamedSubtype } from "./types";

export function SubtypeNames({ subtypes }: { subtypes: readonly NamedSubtype[] }) {
  if (!subtypes.length) return <span class="untrusted">{NOT_DETERMINED}</span>;
  return (
    <>
      {subtypes.map(({ label, trusted }, i) => (
        <span key={label} class={trusted ? "" : "untrusted"}>
          {labelOf(label).display.toLowerCase()}
          {!trusted && ` (${UNTRUSTED})`}
          {i < subtypes.length - 1 && ", "}
        </span>
      ))}
    </>
  );
}
