// Of a study that was not assessed: its series with a picture of each, to choose one from.

import { useSignal } from "@preact/signals";
import { api, fileAddress } from "../api";
import { messageOf } from "../errors";
import { count } from "../format";
import type { OfferedSeries, Study } from "../types";

export function SeriesMenu({ row }: { row: Study }) {
  const problem = useSignal("");
  const asked = useSignal(false);
  const choose = async (series: string): Promise<void> => {
    asked.value = true;
    problem.value = "";
    try {
      await api.chooseSeries(row.id, series);
    } catch (error) {
      problem.value = messageOf(error);
      asked.value = false;
    }
  };
  return (
    <section class="series-menu" aria-labelledby="series">
      <h2 id="series">What this study holds</h2>
      <p>
        No series of it was taken by itself. If one is the head CT that you mean, have it assessed; the result will say that you chose it.
      </p>
      {problem.value && (
        <p class="problem" role="alert">
          {problem.value}
        </p>
      )}
      <ul>
        {row.series.map((one, i) => (
          <li key={one.series}>
            {one.picture ? (
              <img src={fileAddress(row.id, `series/${i}.png`)} alt={`Middle slice of series ${i + 1}`} />
            ) : (
              <span class="no-picture soft">No picture: {one.reason}</span>
            )}
            <span>{wordsOf(one)}</span>
            {one.picture && (
              <button type="button" disabled={asked.value} onClick={() => void choose(one.series)}>
                Assess this series
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function wordsOf({ images, kernel, thickness }: OfferedSeries): string {
  return [count(images, "image"), kernel && `kernel ${kernel}`, thickness].filter(Boolean).join(", ");
}
