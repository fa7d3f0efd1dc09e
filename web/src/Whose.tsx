// Whose study it is, in a line; nothing where the server does not show it.

import { identities, identityWords } from "./identity";

export function Whose({ id }: { id: string }) {
  const who = identities.value.get(id);
  return who ? <span class="whose under">{identityWords(who)}</span> : null;
}
