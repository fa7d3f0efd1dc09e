// Where the pixels of a plane lie on its canvas.

import type { Filled, Plane } from "./volume";

/** From pixels of a plane to CSS pixels of its canvas. */
export interface Fit {
  left: number;
  top: number;
  columnScale: number;
  rowScale: number;
  /** CSS pixels a millimetre. */
  perMm: number;
}

/** How far a plane is moved (in its own mm) and magnified. */
export interface Pose {
  zoom: number;
  x: number;
  y: number;
}

export const AT_REST: Pose = { zoom: 1, x: 0, y: 0 };

const MARGIN = 0.96;
const MOST_ZOOM = 16;
const LEAST_ZOOM = 0.5;

/** At rest what is filled (the head, without the air around it) fits into the canvas. */
export function fitOf(plane: Plane, filled: Filled, width: number, height: number, pose: Pose): Fit {
  const across = (filled.right - filled.left) * plane.columnStep;
  const down = (filled.bottom - filled.top) * plane.rowStep;
  const resting = MARGIN * Math.min(width / across, height / down);
  const perMm = resting * pose.zoom;
  return {
    left: width / 2 + pose.x * resting - ((filled.left + filled.right) / 2) * plane.columnStep * perMm,
    top: height / 2 + pose.y * resting - ((filled.top + filled.bottom) / 2) * plane.rowStep * perMm,
    columnScale: plane.columnStep * perMm,
    rowScale: plane.rowStep * perMm,
    perMm,
  };
}

/** Magnify; the point `about` (from the middle of the canvas, in mm at zoom 1) stays where it is. */
export function zoomed(pose: Pose, factor: number, aboutX: number, aboutY: number): Pose {
  const zoom = Math.max(LEAST_ZOOM, Math.min(MOST_ZOOM, pose.zoom * factor));
  const change = zoom / pose.zoom;
  return { zoom, x: aboutX - (aboutX - pose.x) * change, y: aboutY - (aboutY - pose.y) * change };
}
