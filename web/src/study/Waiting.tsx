// In place of the images, while there are none.

import { duration } from "../format";
import type { State, Study } from "../types";
import { now } from "../worklist/live";
import { SeriesMenu } from "./SeriesMenu";

const UNDER_WAY: Partial<Record<State, string>> = {
  queued: "Waiting for its turn",
  reading: "Reading the files",
  detecting: "Detecting",
};

interface Props {
  row: Study;
  /** Share of the images received, 0 to 1. */
  progress: number;
  problem: string;
}

export function Waiting({ row, progress, problem }: Props) {
  return (
    <div class="waiting" role="status">
      <Message row={row} progress={progress} problem={problem} />
    </div>
  );
}

function Message({ row, progress, problem }: Props) {
  if (problem) return <p class="problem">{problem}</p>;
  if (row.state === "refused" && row.series.length) return <SeriesMenu row={row} />;
  if (row.state === "refused") return <p>There are no images to show: nothing is kept of what could not be assessed.</p>;
  if (row.state === "ready") {
    return (
      <>
        <p>Loading images</p>
        <progress max={1} value={progress || undefined} aria-label="Loading images" />
      </>
    );
  }
  const waited = (now.value - Date.parse(row.arrived)) / 1000;
  return (
    <>
      <p>
        <b>{UNDER_WAY[row.state]}</b>
      </p>
      <p class="soft">{duration(waited)} since it arrived. This page goes on by itself.</p>
    </>
  );
}
