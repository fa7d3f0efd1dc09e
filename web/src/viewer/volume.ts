// A volume on an even, right-angled grid, its axes turned to the patient: x to the left, y to the back, z to the head.

export type Axis = "axial" | "coronal" | "sagittal";

export type Voxels = Int16Array | Uint8Array;

export type Triple = [number, number, number];

export interface Point {
  x: number;
  y: number;
  z: number;
}

/** A slice of a volume, as it is looked at: rows from the top of the screen, columns from its left. */
export interface Plane {
  values: Voxels;
  width: number;
  height: number;
  /** mm (or, of a picture, pixels) a column and a row. */
  columnStep: number;
  rowStep: number;
}

/** Where a volume lies in the patient, in DICOM's millimetres (to the left, the back, the head). */
export interface Frame {
  /** Centre of the first voxel. */
  origin: Triple;
  /** Unit vectors along x, y and z; a tilted head's are not the patient's own axes. */
  directions: [Triple, Triple, Triple];
}

export interface Volume {
  voxels: Voxels;
  /** Voxels along x, y and z. */
  size: Triple;
  /** mm between voxels along x, y and z. */
  step: Triple;
  /** What a voxel's value is: Hounsfield units, or the grey of a picture, which is no measure. */
  unit: "HU" | "grey";
  /** Whether its millimetres are real; if not, they are pixels. */
  scaled: boolean;
  /** Null where its place in the patient is not known. */
  frame: Frame | null;
}

/** Which letters stand at the left, right, top and bottom of a plane. */
export const SIDES: Record<Axis, { left: string; right: string; top: string; bottom: string }> = {
  axial: { left: "R", right: "L", top: "A", bottom: "P" },
  coronal: { left: "R", right: "L", top: "S", bottom: "I" },
  sagittal: { left: "A", right: "P", top: "S", bottom: "I" },
};

export const AXES: readonly Axis[] = ["axial", "coronal", "sagittal"];

/** Which of x, y, z runs through the slices of a plane. */
export const THROUGH: Record<Axis, 0 | 1 | 2> = { axial: 2, coronal: 1, sagittal: 0 };

/** The part of a plane that holds something, in its pixels. */
export interface Filled {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

const AIR_BELOW = -300;
/** Share of the fullest line below which a line holds next to nothing: a table, a tube, noise in the air. */
const SPARSE = 0.06;

/** The box around what is not air, per axis; the whole plane for a picture or an empty volume. */
export function filledBoxes(volume: Volume): Record<Axis, Filled> {
  const [nx, ny, nz] = volume.size;
  const counts = [new Uint32Array(nx), new Uint32Array(ny), new Uint32Array(nz)] as const;
  let total = 0;
  if (volume.unit === "HU") {
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y += 4) {
        const row = (z * ny + y) * nx;
        for (let x = 0; x < nx; x += 4) {
          if (volume.voxels[row + x]! <= AIR_BELOW) continue;
          counts[0][x]!++;
          counts[1][y]!++;
          counts[2][z]!++;
          total++;
        }
      }
    }
  }
  const span = (axis: 0 | 1 | 2): [number, number] => {
    const of = counts[axis];
    const least = Math.max(1, SPARSE * of.reduce((most, n) => Math.max(most, n), 0));
    const first = of.findIndex((n) => n >= least);
    const last = of.findLastIndex((n) => n >= least);
    if (!total || last - first < of.length / 4) return [0, of.length];
    const spare = axis === 2 ? 0 : 8;
    return [Math.max(0, first - spare), Math.min(of.length, last + 1 + spare)];
  };
  const [x, y] = [span(0), span(1)];
  return {
    axial: { left: x[0], right: x[1], top: y[0], bottom: y[1] },
    coronal: { left: x[0], right: x[1], top: 0, bottom: nz },
    sagittal: { left: y[0], right: y[1], top: 0, bottom: nz },
  };
}

export function slicesAlong(volume: Volume, axis: Axis): number {
  return volume.size[THROUGH[axis]];
}

/** Cut one slice out. Axial slices are views of the volume; the others are copies. */
export function planeAt(volume: Volume, axis: Axis, index: number): Plane {
  const [nx, ny, nz] = volume.size;
  const [dx, dy, dz] = volume.step;
  const { voxels } = volume;
  if (axis === "axial") {
    const values = voxels.subarray(index * nx * ny, (index + 1) * nx * ny);
    return { values, width: nx, height: ny, columnStep: dx, rowStep: dy };
  }
  const width = axis === "coronal" ? nx : ny;
  const values = voxels instanceof Int16Array ? new Int16Array(width * nz) : new Uint8Array(width * nz);
  for (let z = 0; z < nz; z++) {
    const row = (nz - 1 - z) * width; // the head is up
    if (axis === "coronal") {
      const from = (z * ny + index) * nx;
      values.set(voxels.subarray(from, from + nx), row);
    } else {
      let from = z * ny * nx + index;
      for (let y = 0; y < ny; y++, from += nx) values[row + y] = voxels[from]!;
    }
  }
  return { values, width, height: nz, columnStep: axis === "coronal" ? dx : dy, rowStep: dz };
}

/** Brightest voxels of a slab: `n` neighbouring slices about one, fewer at the ends (a maximum intensity projection). */
export function slabAt(volume: Volume, axis: Axis, index: number, n: number): Plane {
  const middle = planeAt(volume, axis, index);
  if (n < 2) return middle;
  const values = middle.values.slice();
  const from = Math.max(0, index - Math.floor((n - 1) / 2));
  const to = Math.min(slicesAlong(volume, axis) - 1, index + Math.floor(n / 2));
  for (let slice = from; slice <= to; slice++) {
    if (slice === index) continue;
    const other = planeAt(volume, axis, slice).values;
    for (let i = 0; i < values.length; i++) if (other[i]! > values[i]!) values[i] = other[i]!;
  }
  return { ...middle, values };
}

/** Column and row (in pixels of the plane, 0 at the outer edge of the first) of a voxel's centre. */
export function toPlane(volume: Volume, axis: Axis, point: Point): { column: number; row: number } {
  const nz = volume.size[2];
  if (axis === "axial") return { column: point.x + 0.5, row: point.y + 0.5 };
  if (axis === "coronal") return { column: point.x + 0.5, row: nz - 0.5 - point.z };
  return { column: point.y + 0.5, row: nz - 0.5 - point.z };
}

/** The voxel under a place of a plane; its place through the slices stays that of `at`. */
export function fromPlane(volume: Volume, axis: Axis, column: number, row: number, at: Point): Point {
  const nz = volume.size[2];
  const inside = (value: number, n: number): number => Math.max(0, Math.min(n - 1, Math.floor(value)));
  const [nx, ny] = volume.size;
  if (axis === "axial") return { x: inside(column, nx), y: inside(row, ny), z: at.z };
  const z = nz - 1 - inside(row, nz);
  if (axis === "coronal") return { x: inside(column, nx), y: at.y, z };
  return { x: at.x, y: inside(column, ny), z };
}

export function valueAt(volume: Volume, { x, y, z }: Point): number | undefined {
  const [nx, ny, nz] = volume.size;
  if (x < 0 || y < 0 || z < 0 || x >= nx || y >= ny || z >= nz) return undefined;
  return volume.voxels[(z * ny + y) * nx + x];
}

/** Patient position of a voxel's centre in DICOM's millimetres (LPS); null where it is not known. */
export function toPatient({ frame, step }: Volume, { x, y, z }: Point): Triple | null {
  if (!frame) return null;
  const [mx, my, mz] = [x * step[0], y * step[1], z * step[2]];
  const [ex, ey, ez] = frame.directions;
  return [0, 1, 2].map((k) => frame.origin[k]! + mx * ex[k]! + my * ey[k]! + mz * ez[k]!) as Triple;
}

export function depthOf(point: Point, axis: Axis): number {
  return axis === "axial" ? point.z : axis === "coronal" ? point.y : point.x;
}

export function withDepth(point: Point, axis: Axis, depth: number): Point {
  return axis === "axial" ? { ...point, z: depth } : axis === "coronal" ? { ...point, y: depth } : { ...point, x: depth };
}

export function centreOf(volume: Volume): Point {
  const [x, y, z] = volume.size.map((n) => Math.floor((n - 1) / 2)) as Triple;
  return { x, y, z };
}
