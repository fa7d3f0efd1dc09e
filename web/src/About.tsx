// The model's card, how long studies are stored, which renderer is used.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api, type Limits, type Model } from "./api";
import { Bundles } from "./Bundles";
import { messageOf } from "./errors";
import { type Choice, chooseRenderer, chosenRenderer } from "./viewer/renderer";

/** A wide table scrolls in itself: with the keys too. */
function reachable(card: HTMLElement | null): void {
  for (const table of card?.querySelectorAll("table") ?? []) {
    table.tabIndex = 0;
    table.setAttribute("aria-label", "Table of the model's card");
  }
}

export function About() {
  const model = useSignal<Model | null>(null);
  const limits = useSignal<Limits | null>(null);
  const problem = useSignal("");
  const renderer = useSignal(chosenRenderer());
  const loadModel = (): void => {
    api.model().then(
      (found) => (model.value = found),
      (error: unknown) => (problem.value = messageOf(error)),
    );
  };
  useEffect(() => {
    loadModel();
    api.limits().then(
      (found) => (limits.value = found),
      () => {},
    );
  }, []);
  const choose = (value: string): void => {
    chooseRenderer(value as Choice);
    location.reload();
  };
  const days = limits.value?.keep_days;
  return (
    <main class="about" id="content">
      <p>
        <a class="button quiet" href="#/">
          ← Worklist
        </a>
      </p>
      <p class="research">Research use, not a medical device.</p>
      <section aria-labelledby="server">
        <h2 id="server">This server</h2>
        {days !== undefined && (
          <p>
            {days > 0 ? `Studies are deleted ${days} days after they arrived.` : "Studies are kept until somebody deletes them."} Deleting a
            study removes it from the disk.
          </p>
        )}
        <label class="field inline">
          Images are drawn by
          <select value={renderer.value.chosen} onChange={(event) => choose(event.currentTarget.value)}>
            <option value="auto">what fits this computer</option>
            <option value="niivue">NiiVue (WebGL 2)</option>
            <option value="plain">a plain canvas</option>
          </select>
        </label>
        <p class="soft">
          Now: {renderer.value.used === "niivue" ? "NiiVue" : "a plain canvas"} ({renderer.value.why}).
        </p>
        <p class="soft">
          <a href="#/api">The API</a> · <a href="LICENCES.txt">Licences of what this page is made with</a>
        </p>
      </section>
      <Bundles changed={loadModel} />
      {problem.value && (
        <p class="problem" role="alert">
          {problem.value}
        </p>
      )}
      {/* Rendered by the server from the bundle's Markdown, HTML in it kept as text. */}
      {model.value && <article class="card" ref={reachable} dangerouslySetInnerHTML={{ __html: model.value.card_html }} />}
    </main>
  );
}
