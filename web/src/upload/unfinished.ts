// Unfinished uploads, stored over a reload: their id and, of each file, a hash of its name and size. No name is stored.

export interface UnfinishedUpload {
  id: string;
  when: number;
  total: number;
  /** In the order of the upload's files. */
  files: { hash: string; size: number }[];
}

const KEY = "ichor.uploads";
const OLDEST_MS = 24 * 3600 * 1000;

export function unfinishedUploads(): UnfinishedUpload[] {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]") as UnfinishedUpload[];
    return found.filter((one) => Date.now() - one.when < OLDEST_MS);
  } catch {
    return [];
  }
}

export function remember(upload: UnfinishedUpload): void {
  write([...unfinishedUploads().filter((one) => one.id !== upload.id), upload]);
}

export function forget(id: string): void {
  write(unfinishedUploads().filter((one) => one.id !== id));
}

function write(uploads: UnfinishedUpload[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(uploads));
  } catch {
    // Where the browser stores nothing, an upload cannot be resumed after a reload; all else works.
  }
}

/** A short hash (cyrb53) that recognises a file by its path and size. */
export function hashOf(path: string, size: number): string {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (const char of `${path}\0${size}`) {
    const code = char.codePointAt(0)!;
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return ((b >>> 0).toString(36) + (a >>> 0).toString(36)).padStart(12, "0");
}
