// The row of one study, kept current while its page is open.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api } from "../api";
import { messageOf } from "../errors";
import { go } from "../router";
import type { Study } from "../types";
import { studies, watch } from "../worklist/live";
import type { StudyCache } from "./loading";

export interface StudyRow {
  study: Signal<Study | null>;
  problem: Signal<string>;
}

/** Ask for a study and follow its changes; where it is deleted, go back to the worklist. */
export function useStudy(id: string, cache: StudyCache): StudyRow {
  const study = useSignal<Study | null>(studies.peek().find((one) => one.id === id) ?? null);
  const problem = useSignal("");
  useEffect(() => {
    const stop = watch((changed, changedId) => {
      if (changedId !== id) return;
      if (changed) {
        study.value = changed;
        return;
      }
      cache.forget(id);
      go("#/");
    });
    api.study(id).then(
      (found) => {
        study.value = found;
      },
      (error: unknown) => {
        problem.value = messageOf(error);
      },
    );
    return stop;
  }, [id, cache]);
  return { study, problem };
}
