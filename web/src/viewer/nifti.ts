// Reads the two NIfTI volumes that the server keeps of a study: int16 Hounsfield units and a uint8 mask.

import type { Frame, Triple, Volume, Voxels } from "./volume";

const HEADER_BYTES = 348;
/** Largest cosine between two axes of a grid that is still taken for right-angled. */
const MOST_SKEW = 0.02;

const UINT8 = 2;
const INT16 = 4;
const INT32 = 8;
const FLOAT32 = 16;
const UINT16 = 512;

export class BrokenVolume extends Error {}

/** Fetch a volume, reporting the share received (0 to 1), and turn it to the patient's axes. */
export async function fetchVolume(
  address: string,
  options: { signal?: AbortSignal; onProgress?: (share: number) => void } = {},
): Promise<Volume> {
  const answer = await fetch(address, { signal: options.signal ?? null, credentials: "same-origin" });
  if (!answer.ok || !answer.body) throw new BrokenVolume(`the server answered ${answer.status} for the volume`);
  const total = Number(answer.headers.get("content-length") ?? 0);
  const packed = new Uint8Array(await new Response(counted(answer.body, total, options.onProgress)).arrayBuffer());
  return parseVolume(await unpacked(packed));
}

function counted(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  total: number,
  onProgress?: (share: number) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  if (!onProgress || !total) return body;
  let received = 0;
  return body.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        received += chunk.byteLength;
        onProgress(Math.min(1, received / total));
        controller.enqueue(chunk);
      },
    }),
  );
}

/** Unpack gzip; what is not packed (any more) is given back as it is. */
async function unpacked(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.buffer;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return await new Response(stream).arrayBuffer();
}

export function parseVolume(buffer: ArrayBuffer): Volume {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES) throw new BrokenVolume("the volume is shorter than its header");
  const little = view.getInt32(0, true) === HEADER_BYTES;
  if (!little && view.getInt32(0, false) !== HEADER_BYTES) throw new BrokenVolume("the volume is no NIfTI-1 file");
  const dims = [1, 2, 3].map((i) => Math.max(1, view.getInt16(40 + 2 * i, little))) as Triple;
  const type = view.getInt16(70, little);
  const offset = Math.round(view.getFloat32(108, little)) || HEADER_BYTES + 4;
  const slope = view.getFloat32(112, little);
  const intercept = view.getFloat32(116, little);
  const count = dims[0] * dims[1] * dims[2];
  const scaled = Number.isFinite(slope) && slope !== 0 && (slope !== 1 || intercept !== 0);
  const stored = read(buffer, offset, count, type, little);
  const voxels = scaled ? Int16Array.from(stored, (v) => v * slope + intercept) : compact(stored);
  return turned(voxels, dims, gridOf(view, little));
}

type Kind = Uint8ArrayConstructor | Int16ArrayConstructor | Int32ArrayConstructor | Float32ArrayConstructor | Uint16ArrayConstructor;
const KINDS = new Map<number, Kind>([
  [UINT8, Uint8Array],
  [INT16, Int16Array],
  [INT32, Int32Array],
  [FLOAT32, Float32Array],
  [UINT16, Uint16Array],
]);

type Stored = Int16Array | Uint8Array | Float32Array | Int32Array | Uint16Array;

function compact(stored: Stored): Voxels {
  if (stored instanceof Int16Array || stored instanceof Uint8Array) return stored;
  return Int16Array.from(stored, (v) => Math.max(-32768, Math.min(32767, v)));
}

function read(buffer: ArrayBuffer, offset: number, count: number, type: number, little: boolean): Stored {
  const Kind = KINDS.get(type);
  if (!Kind) throw new BrokenVolume(`the volume holds values of type ${type}, which this page does not read`);
  const bytes = count * Kind.BYTES_PER_ELEMENT;
  if (buffer.byteLength < offset + bytes) throw new BrokenVolume("the volume ends before its last slice");
  const whole = offset % Kind.BYTES_PER_ELEMENT === 0 && little;
  if (whole) return new Kind(buffer, offset, count);
  const copy = buffer.slice(offset, offset + bytes);
  if (!little && Kind.BYTES_PER_ELEMENT > 1) swap(new Uint8Array(copy), Kind.BYTES_PER_ELEMENT);
  return new Kind(copy);
}

function swap(bytes: Uint8Array, width: number): void {
  for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse();
}

/** From stored voxels to RAS millimetres (x to the right, y to the front): one column an axis, and the first voxel. */
interface Grid {
  columns: [Triple, Triple, Triple];
  /** Null where the file does not say where in the patient it lies. */
  origin: Triple | null;
}

function gridOf(view: DataView, little: boolean): Grid {
  const float = (at: number): number => view.getFloat32(at, little);
  if (view.getInt16(254, little) > 0) {
    const column = (c: number): Triple => [float(280 + 4 * c), float(296 + 4 * c), float(312 + 4 * c)];
    return { columns: [column(0), column(1), column(2)], origin: column(3) };
  }
  const step = [1, 2, 3].map((i) => Math.abs(float(76 + 4 * i)) || 1) as Triple;
  if (view.getInt16(252, little) > 0) {
    const [b, c, d] = [float(256), float(260), float(264)];
    const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
    const [dx, dy] = step;
    const dz = float(76) < 0 ? -step[2] : step[2];
    return {
      columns: [
        [dx * (a * a + b * b - c * c - d * d), dx * 2 * (b * c + a * d), dx * 2 * (b * d - a * c)],
        [dy * 2 * (b * c - a * d), dy * (a * a + c * c - b * b - d * d), dy * 2 * (c * d + a * b)],
        [dz * 2 * (b * d + a * c), dz * 2 * (c * d - a * b), dz * (a * a + d * d - b * b - c * c)],
      ],
      origin: [float(268), float(272), float(276)],
    };
  }
  return {
    columns: [
      [step[0], 0, 0],
      [0, step[1], 0],
      [0, 0, step[2]],
    ],
    origin: null,
  };
}

/** Which stored axis runs along the patient's x, y and z: the assignment that follows the patient best. */
const ORDERS: readonly Triple[] = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
];

function orderOf(columns: Grid["columns"], lengths: Triple): Triple {
  const along = (order: Triple): number =>
    order.reduce((sum, stored, axis) => sum + Math.abs(columns[stored]![axis]!) / lengths[stored]!, 0);
  return ORDERS.reduce((best, next) => (along(next) > along(best) ? next : best));
}

function checkRightAngles(columns: Grid["columns"], lengths: Triple): void {
  if (lengths.some((length) => !(length > 0))) throw new BrokenVolume("the volume's geometry is incomplete");
  const pairs = [
    [0, 1],
    [0, 2],
    [1, 2],
  ] as const;
  for (const [i, j] of pairs) {
    const dot = columns[i].reduce((sum, v, k) => sum + v * columns[j][k]!, 0);
    if (Math.abs(dot) > MOST_SKEW * lengths[i] * lengths[j]) throw new BrokenVolume("the volume's axes are not at right angles");
  }
}

/** Where the turned volume lies in the patient, in DICOM's millimetres (LPS). */
function frameOf({ columns, origin }: Grid, dims: Triple, order: Triple, flips: readonly boolean[], step: Triple): Frame | null {
  if (!origin) return null;
  const lps = (v: Triple): Triple => [-v[0], -v[1], v[2]];
  const first: Triple = [...origin];
  const directions = order.map((stored, axis) => {
    const column = columns[stored]!;
    const sign = flips[axis] ? -1 : 1;
    if (flips[axis]) for (const k of [0, 1, 2]) first[k]! += column[k]! * (dims[stored]! - 1);
    return lps(column.map((v) => (sign * v) / step[axis]!) as Triple);
  });
  return { origin: lps(first), directions: directions as [Triple, Triple, Triple] };
}

/** Order the voxels so that x grows to the patient's left, y to the back, z to the head. */
function turned(voxels: Voxels, dims: Triple, grid: Grid): Volume {
  const { columns } = grid;
  const lengths = columns.map((c) => Math.hypot(...c)) as Triple;
  checkRightAngles(columns, lengths);
  const order = orderOf(columns, lengths);
  const signs = [-1, -1, 1]; // NIfTI counts x to the right and y to the front
  const flips = order.map((stored, axis) => Math.sign(columns[stored]![axis]!) !== signs[axis]);
  const size = order.map((stored) => dims[stored]) as Triple;
  const step = order.map((stored) => lengths[stored]) as Triple;
  const shape = { size, step, unit: "HU", scaled: true, frame: frameOf(grid, dims, order, flips, step) } as const;
  if (order.every((stored, axis) => stored === axis) && !flips.includes(true)) return { voxels, ...shape };

  const strides = [1, dims[0], dims[0] * dims[1]];
  const [sx, sy, sz] = order.map((stored, axis) => strides[stored]! * (flips[axis] ? -1 : 1)) as Triple;
  const start = order.reduce<number>((sum, stored, axis) => sum + (flips[axis] ? (dims[stored]! - 1) * strides[stored]! : 0), 0);
  const out = voxels instanceof Int16Array ? new Int16Array(voxels.length) : new Uint8Array(voxels.length);
  let to = 0;
  for (let z = 0; z < size[2]; z++) {
    for (let y = 0; y < size[1]; y++) {
      let from = start + z * sz + y * sy;
      for (let x = 0; x < size[0]; x++, from += sx) out[to++] = voxels[from]!;
    }
  }
  return { voxels: out, ...shape };
}
