// Reads the two NIfTI volumes that the server keeps of a study: int16 Hounsfield units and a uint8 mask.

import type { Volume, Voxels } from "./volume";

const HEADER_BYTES = 348;
/** Cosine of the angle between two axes from which on the grid is not taken for a right-angled one. */
const SKEW = 0.02;

const UINT8 = 2;
const INT16 = 4;
const INT32 = 8;
const FLOAT32 = 16;
const UINT16 = 512;

export class BrokenVolume extends Error {}

/** Fetch a volume, telling how much of it has come (0 to 1), and turn it to the patient's axes. */
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
  let come = 0;
  return body.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        come += chunk.byteLength;
        onProgress(Math.min(1, come / total));
        controller.enqueue(chunk);
      },
    }),
  );
}

/** Unpack gzip; what is not packed (any more) is given back as it is. */
async function unpacked(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.buffer;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

export function parseVolume(buffer: ArrayBuffer): Volume {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES) throw new BrokenVolume("the volume is shorter than its header");
  const little = view.getInt32(0, true) === HEADER_BYTES;
  if (!little && view.getInt32(0, false) !== HEADER_BYTES) throw new BrokenVolume("the volume is no NIfTI-1 file");
  const dims = [1, 2, 3].map((i) => Math.max(1, view.getInt16(40 + 2 * i, little))) as [number, number, number];
  const type = view.getInt16(70, little);
  const offset = Math.round(view.getFloat32(108, little)) || HEADER_BYTES + 4;
  const slope = view.getFloat32(112, little);
  const intercept = view.getFloat32(116, little);
  const count = dims[0] * dims[1] * dims[2];
  const scaled = Number.isFinite(slope) && slope !== 0 && (slope !== 1 || intercept !== 0);
  const stored = read(buffer, offset, count, type, little);
  const voxels = scaled ? Int16Array.from(stored, (v) => v * slope + intercept) : compact(stored);
  return turned(voxels, dims, affine(view, little));
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

/** Columns of the matrix from voxels to millimetres, NIfTI's way (x to the right, y to the front). */
function affine(view: DataView, little: boolean): [number[], number[], number[]] {
  if (view.getInt16(254, little) > 0) {
    const at = (row: number, column: number): number => view.getFloat32(280 + 16 * row + 4 * column, little);
    return [0, 1, 2].map((c) => [at(0, c), at(1, c), at(2, c)]) as [number[], number[], number[]];
  }
  const step = [1, 2, 3].map((i) => Math.abs(view.getFloat32(76 + 4 * i, little)) || 1);
  if (view.getInt16(252, little) > 0) {
    const [b, c, d] = [256, 260, 264].map((at) => view.getFloat32(at, little)) as [number, number, number];
    const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
    const sign = view.getFloat32(76, little) < 0 ? -1 : 1;
    const turn = [
      [a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)],
      [2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)],
      [2 * (b * d + a * c), 2 * (c * d - a * b), a * a + d * d - b * b - c * c],
    ];
    return turn.map((column, i) => column.map((v) => v * step[i]! * (i === 2 ? sign : 1))) as [number[], number[], number[]];
  }
  return [[step[0]!, 0, 0], [0, step[1]!, 0], [0, 0, step[2]!]];
}

/** Order the voxels so that x grows to the patient's left, y to the back, z to the head. */
function turned(voxels: Voxels, dims: [number, number, number], columns: [number[], number[], number[]]): Volume {
  const lengths = columns.map((c) => Math.hypot(...c)) as [number, number, number];
  if (lengths.some((length) => !(length > 0))) throw new BrokenVolume("the volume's geometry is not whole");
  for (const [i, j] of [[0, 1], [0, 2], [1, 2]] as const) {
    const dot = columns[i].reduce((sum, v, k) => sum + v * columns[j][k]!, 0);
    if (Math.abs(dot) > SKEW * lengths[i] * lengths[j]) throw new BrokenVolume("the volume's axes are not at right angles");
  }
  // Which stored axis runs along x, y, z: the assignment that follows the patient best.
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] as const;
  const along = (order: readonly number[]): number =>
    order.reduce((sum, stored, axis) => sum + Math.abs(columns[stored]![axis]!) / lengths[stored]!, 0);
  const order = orders.reduce((best, next) => (along(next) > along(best) ? next : best));
  const wanted = [-1, -1, 1]; // NIfTI counts x to the right and y to the front
  const flips = order.map((stored, axis) => Math.sign(columns[stored]![axis]!) !== wanted[axis]);
  const size = order.map((stored) => dims[stored]) as [number, number, number];
  const step = order.map((stored) => lengths[stored]) as [number, number, number];
  if (order.every((stored, axis) => stored === axis) && !flips.includes(true)) return { voxels, size, step, unit: "HU", scaled: true };

  const strides = [1, dims[0], dims[0] * dims[1]];
  const [sx, sy, sz] = order.map((stored, axis) => strides[stored]! * (flips[axis] ? -1 : 1)) as [number, number, number];
  const start = order.reduce<number>((sum, stored, axis) => sum + (flips[axis] ? (dims[stored]! - 1) * strides[stored]! : 0), 0);
  const out = voxels instanceof Int16Array ? new Int16Array(voxels.length) : new Uint8Array(voxels.length);
  let to = 0;
  for (let z = 0; z < size[2]; z++) {
    for (let y = 0; y < size[1]; y++) {
      let from = start + z * sz + y * sy;
      for (let x = 0; x < size[0]; x++, from += sx) out[to++] = voxels[from]!;
    }
  }
  return { voxels: out, size, step, unit: "HU", scaled: true };
}
