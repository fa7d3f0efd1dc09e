// The images of a study: tool bar, planes, another study beside them, and the strip of slices.

import { useComputed } from "@preact/signals";
import { identities } from "../identity";
import { PRESETS } from "../labels";
import type { Study } from "../types";
import { Strip } from "../viewer/Strip";
import type { ViewState } from "../viewer/state";
import { Viewport } from "../viewer/Viewport";
import { AXES, type Axis, type Volume } from "../viewer/volume";
import { PriorView } from "./Compare";
import type { Desk } from "./desk";
import type { Actions } from "./keys";
import { markedSlices } from "./regions";
import { Toolbar } from "./Toolbar";
import type { Choices, Layout } from "./useChoices";
import type { StudyImages } from "./useImages";
import { Waiting } from "./Waiting";

interface Props {
  desk: Desk;
  row: Study;
  images: StudyImages;
  choices: Choices;
  actions: Actions;
  /** Identifier of the study to compare with. */
  prior: string | null;
  problem: string;
}

export function Viewer({ desk, row, images, choices, actions, prior, problem }: Props) {
  const { view, cache } = desk;
  const marked = useComputed(() => markedSlices(images.loaded.value?.images.mask ?? null));
  const found = images.loaded.value;
  // The view is shared by all studies: until this one's own images are in it, it shows another patient's.
  const volume = found && view.volume.value === found.images.volume ? found.images.volume : null;
  const picture = row.kind === "picture";
  const layout = volume && !prior && !picture ? layoutOf(choices.layout.value, volume) : "single";
  const label = choices.label.value;
  return (
    <section class="viewer" aria-label="Images">
      {found && <Toolbar state={view} actions={actions} choices={choices} picture={picture} comparing={prior !== null} />}
      <div class={`planes ${prior ? "two" : CLASSES[layout]}`}>
        {volume ? (
          <>
            <Planes view={view} choices={choices} layout={layout} title={prior ? titleOf(row) : undefined} />
            {prior && <PriorView id={prior} main={view} cache={cache} />}
          </>
        ) : (
          <Waiting row={row} progress={images.progress.value} problem={problem} />
        )}
      </div>
      {found && volume && (
        <Strip state={view} slices={found.slices.slices} label={label} threshold={found.findings.thresholds[label]} marked={marked.value} />
      )}
    </section>
  );
}

/** Name and, where it is shown, date: of two exams side by side, which is the earlier one must be seen. */
function titleOf({ id, label }: Study): string {
  return [label, identities.value.get(id)?.date].filter(Boolean).join(", ");
}

const CLASSES: Record<Layout, string> = { single: "one", planes: "three", windows: "windows" };

/** The other planes say nothing of a few slices. */
function layoutOf(chosen: Layout, volume: Volume): Layout {
  return chosen === "planes" && volume.size[2] < 3 ? "single" : chosen;
}

interface PlanesProps {
  view: ViewState;
  choices: Choices;
  layout: Layout;
  title: string | undefined;
}

/** Windows beside the viewer's own, which the reader may change. */
const SIDE_BY_SIDE = ["subdural", "bone"].map((name) => PRESETS.find((preset) => preset.name === name));

/** The axial plane alone or in several windows, or all three planes with the chosen one large. */
function Planes({ view, choices, layout, title }: PlanesProps) {
  if (layout === "windows") {
    return (
      <>
        {[undefined, ...SIDE_BY_SIDE].map((preset) => (
          <Viewport key={preset?.name ?? "own"} state={view} axis="axial" title={title} crosshair={false} main={true} preset={preset} />
        ))}
      </>
    );
  }
  const several = layout === "planes";
  const large = choices.large.value;
  const order: readonly Axis[] = several ? [large, ...AXES.filter((axis) => axis !== large)] : ["axial"];
  const enlarge = (axis: Axis) => (): void => {
    choices.large.value = axis;
  };
  return (
    <>
      {order.map((axis, i) => (
        <Viewport
          key={axis}
          state={view}
          axis={axis}
          title={title}
          crosshair={several}
          main={i === 0}
          onEnlarge={i > 0 ? enlarge(axis) : undefined}
        />
      ))}
    </>
  );
}
