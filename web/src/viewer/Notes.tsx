// What is written in the corners of a plane.

import type { Preset } from "../labels";
import type { ViewState } from "./state";
import { type Axis, toPatient, toPlane, type Volume, valueAt } from "./volume";

interface NoteProps {
  state: ViewState;
  axis: Axis;
}

interface PlaceProps extends NoteProps {
  /** Of the study, where two are side by side. */
  title: string | undefined;
  name: string;
  main: boolean;
}

const UNKNOWN = { position: null, instance: null };

/** Which plane it is, the number of its slice and, of axial ones, position DICOM instance number, kernel and thickness. */
export function PlaceNote({ state, axis, title, name, main }: PlaceProps) {
  const { number, of: count } = state.count(axis);
  const { position, instance } = main && axis === "axial" ? state.nativeSlice() : UNKNOWN;
  return (
    <div class="note top-left">
      {title && <b>{title}</b>}
      <span>
        {name}
        {count > 1 && (
          <>
            {" "}
            <span class="figure slice-number">
              {number ?? "gap"}/{count}
            </span>
          </>
        )}
      </span>
      {position !== null && <span class="figure slice-position">{millimetres(position)} mm</span>}
      {instance !== null && <span class="figure slice-instance">Image {instance}</span>}
      {main && axis === "axial" && state.technique().map((words) => <span key={words}>{words}</span>)}
    </div>
  );
}

export function WindowNote({ state, axis, preset }: NoteProps & { preset: Preset | undefined }) {
  const { level, width } = preset ?? state.window.value;
  const name = (preset ?? state.preset.value)?.display;
  const picture = state.volume.value?.unit === "grey";
  const zoom = state.poses[axis].value.zoom;
  const slab = state.slabSlices(axis) > 1;
  return (
    <div class="note top-right">
      <span class="figure">
        {picture ? "Grey " : ""}L {level} W {width}
      </span>
      {name && !picture && <span>{name}</span>}
      {slab && <span>MIP {state.slab.value} mm</span>}
      {Math.abs(zoom - 1) > 0.01 && <span class="figure">{Math.round(zoom * 100)} %</span>}
      {state.inverted.value && <span>Inverted</span>}
    </div>
  );
}

/** Value and patient position under the pointer; the voxel's own, or the brightest of the slab. */
export function PointerNote({ state, axis }: NoteProps) {
  const volume = state.volume.value;
  const pointed = state.pointed.value;
  if (!volume || pointed?.axis !== axis) return null;
  const value = valueShown(state, volume, axis, pointed.point);
  const place = volume.scaled ? toPatient(volume, pointed.point) : null;
  return (
    <div class="note bottom-left figure">
      <span class="pointed">{value === undefined ? "" : `${value} ${volume.unit === "HU" ? "HU" : "grey"}`}</span>
      {place && (
        <span class="pointed-at">
          {side(place[0], "L", "R")} {side(place[1], "P", "A")} {side(place[2], "S", "I")}
        </span>
      )}
    </div>
  );
}

function valueShown(state: ViewState, volume: Volume, axis: Axis, point: { x: number; y: number; z: number }): number | undefined {
  if (state.slabSlices(axis) < 2) return valueAt(volume, point);
  const plane = state.planeOf(axis, state.slice(axis));
  const { column, row } = toPlane(volume, axis, point);
  return plane?.values[Math.floor(row) * plane.width + Math.floor(column)];
}

/** A coordinate as other viewers write it: a letter for its side of the origin, and whole millimetres. */
function side(mm: number, positive: string, negative: string): string {
  return `${mm < 0 ? negative : positive}${Math.abs(Math.round(mm))}`;
}

function millimetres(mm: number): string {
  return mm.toFixed(1).replace("-", "−");
}
