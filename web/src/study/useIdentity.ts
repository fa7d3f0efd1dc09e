// Whose the study of the page is, and the earlier exams of the same patient; null where the server does not show it.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { askIdentity } from "../identity";
import { session } from "../session";
import type { State, StudyIdentity } from "../types";

export function useIdentity(id: string, state: State | undefined): Signal<StudyIdentity | null> {
  const found = useSignal<StudyIdentity | null>(null);
  const shown = session.value?.shows_identity;
  useEffect(() => {
    let stale = false;
    void askIdentity(id).then((answer) => {
      if (!stale) found.value = answer;
    });
    return () => {
      stale = true;
    };
  }, [id, state, shown]);
  return found;
}
