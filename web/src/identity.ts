// Whose studies they are, where the server was started to show it. Held in memory alone, never in the browser's storage.

import { signal } from "@preact/signals";
import { api, type StudyFilter } from "./api";
import { session } from "./session";
import type { PatientIdentity, StudyIdentity } from "./types";

export const identities = signal<ReadonlyMap<string, PatientIdentity>>(new Map());

function add(found: readonly (readonly [string, PatientIdentity])[]): void {
  if (found.length) identities.value = new Map([...identities.peek(), ...found]);
}

/** Ask for those of the rows that a filter gives. */
export async function askIdentities(filter: StudyFilter): Promise<void> {
  if (!session.peek()?.shows_identity) return;
  add(Object.entries((await api.identities(filter)).items));
}

/** Ask for one study's, and its priors; null where it is not shown or not known. */
export async function askIdentity(id: string): Promise<StudyIdentity | null> {
  if (!session.peek()?.shows_identity) return null;
  try {
    const found = await api.identity(id);
    add([[id, found.identity]]);
    return found;
  } catch {
    return null; // no header says whose it is
  }
}

/** What is known, in a line. */
export function identityWords({ name, patient_id, accession, date, description }: PatientIdentity): string {
  return [name, patient_id && `ID ${patient_id}`, date, description, accession && `accession ${accession}`].filter(Boolean).join(" · ");
}
