// The model's card, how long studies stay, what draws the images here.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Bounds, type Model, api } from "./api";
import { chosenRenderer } from "./viewer/source";

/** A wide table scrolls in itself: with the keys too. */
function reachable(card: HTMLElement | null): void {
  for (const table of card?.querySelectorAll("table") ?? []) {
    table.tabIndex = 0;
    table.setAttribute("aria-label", "Table of the model's card");
  }
}

export function About() {
  const model = useSignal<Model | null>(null);
  const bounds = useSignal<Bounds | null>(null);
  const problem = useSignal("");
  const renderer = useSignal(chosenRenderer());
  useEffect(() => {
    api.model().then(
      (found) => (model.value = found),
      (error: unknown) => (problem.value = error instanceof Error ? error.message : String(error)),
    );
    api.limits().then((found) => (bounds.value = found), () => {});
  }, []);
  const choose = (value: string): void => {
    if (value === "auto") localStorage.removeItem("ichor.renderer");
    else localStorage.setItem("ichor.renderer", value);
    location.reload();
  };
  const days = bounds.value?.keep_days;
  return (
    <main class="about" id="content">
      <p>
        <a class="button quiet" href="#/">
          ← Worklist
        </a>
      </p>
      <p class="research">Research use, not a medical device.</p>
      <section aria-labelledby="here">
        <h2 id="here">Here</h2>
        {days !== undefined && (
          <p>
            {days > 0 ? `Studies are deleted ${days} days after they arrived.` : "Studies are kept until somebody deletes them."} A study that is deleted is gone
            from the disk.
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
          <a href="api/v1/openapi.json">Description of the API (OpenAPI)</a> · <a href="LICENCES.txt">Licences of what this page is made with</a>
        </p>
      </section>
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
