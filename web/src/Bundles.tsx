// The bundles of the server: what each is, which is in use, and choosing another for the studies to come.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { api, type Bundle } from "./api";
import { messageOf } from "./errors";

/** Figures that a reader compares bundles by, where they were measured. */
const FIGURES = ["exam AUC, any", "exam sensitivity, any", "exam specificity, any"];

function Figures({ bundle }: { bundle: Bundle }) {
  const shown = bundle.measured.filter((one) => FIGURES.includes(one.name) && one.value !== null);
  if (shown.length === 0) return <p class="soft">Nothing was measured of it here.</p>;
  return (
    <ul>
      {shown.map((one) => (
        <li key={one.name}>
          {one.name}: {one.value!.toFixed(3)}
          {one.low !== null && one.high !== null && ` (${one.low.toFixed(3)} to ${one.high.toFixed(3)})`}, {one.unit}
        </li>
      ))}
    </ul>
  );
}

interface RowProps {
  bundle: Bundle;
  /** The one that was asked for and not yet confirmed. */
  asked: string | null;
  choose: (bundle: Bundle) => void;
}

function Row({ bundle, asked, choose }: RowProps) {
  return (
    <li>
      <label>
        <input
          type="radio"
          name="bundle"
          checked={asked === null ? bundle.chosen : asked === bundle.sha256}
          disabled={bundle.reason !== null}
          onChange={() => choose(bundle)}
        />{" "}
        <strong>
          {bundle.name} {bundle.version}
        </strong>
        {bundle.chosen && " (in use)"}
      </label>
      <p>{bundle.description}</p>
      {bundle.reason !== null && <p class="reason">{bundle.reason}</p>}
      <Figures bundle={bundle} />
      <p class="soft">
        {bundle.calibrated ? "Calibrated" : "Not calibrated"}. Learned from {bundle.trained_on.join(", ") || "data that it does not name"}.{" "}
        {bundle.licence}
        {bundle.restrictions.map((one) => ` ${one}`)}
      </p>
    </li>
  );
}

export function Bundles({ changed }: { changed: () => void }) {
  const bundles = useSignal<Bundle[]>([]);
  const asked = useSignal<string | null>(null);
  const problem = useSignal("");
  useEffect(() => {
    api.bundles().then(
      (found) => (bundles.value = found.items),
      (error: unknown) => (problem.value = messageOf(error)),
    );
  }, []);
  const choose = (bundle: Bundle): void => {
    asked.value = bundle.sha256;
    problem.value = "";
    api
      .chooseBundle(bundle.sha256)
      .then(
        (found) => {
          bundles.value = found.items;
          changed();
        },
        (error: unknown) => (problem.value = messageOf(error)),
      )
      .finally(() => (asked.value = null));
  };
  return (
    <section aria-labelledby="bundles">
      <h2 id="bundles">Models</h2>
      <p class="soft">Studies that are taken up from now on are assessed with the one that is chosen. Each result names its own.</p>
      {problem.value && (
        <p class="problem" role="alert">
          {problem.value}
        </p>
      )}
      <ul class="models" aria-label="Models">
        {bundles.value.map((bundle) => (
          <Row key={bundle.sha256} bundle={bundle} asked={asked.value} choose={choose} />
        ))}
      </ul>
    </section>
  );
}
