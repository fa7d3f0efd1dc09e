// What was dropped or chosen, sorted into uploads: a folder, a zip or a volume each on its own, loose files together.

export interface Chosen {
  /** Relative, as the user named it. */
  path: string;
  file: File;
}

export interface Group {
  title: string;
  files: Chosen[];
}

const ALONE = /\.(zip|nii|nii\.gz)$/i;

export function grouped(chosen: readonly Chosen[]): Group[] {
  const groups = new Map<string, Group>();
  for (const one of chosen) {
    const slash = one.path.indexOf("/");
    const key = slash > 0 ? `folder ${one.path.slice(0, slash)}` : ALONE.test(one.path) ? `file ${one.path}` : "files";
    const title = slash > 0 ? one.path.slice(0, slash) : one.path;
    const group = groups.get(key);
    if (group) group.files.push(one);
    else groups.set(key, { title, files: [one] });
  }
  for (const [key, group] of groups) {
    if (key === "files" && group.files.length > 1) group.title = `${group.files.length} files`;
  }
  return [...groups.values()];
}

const PICTURE = /\.(png|jpe?g|bmp|tiff?|gif|webp)$/i;
/** As few as an exam may have. */
const LEAST_STACKED = 5;

/** Whether a group is nothing but pictures, and as many as an exam has slices. */
export function areManyPictures({ files }: Group): boolean {
  return files.length >= LEAST_STACKED && files.every(({ path }) => PICTURE.test(path));
}

export function fromInput(list: FileList | null): Chosen[] {
  return [...(list ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/** Files of a drop, folders opened. Must be called while the event is handled. */
export function fromDrop(transfer: DataTransfer): Promise<Chosen[]> {
  const entries = [...transfer.items].map((item) => (item.kind === "file" ? item.webkitGetAsEntry() : null));
  const plain = fromInput(transfer.files);
  if (!entries.some(Boolean)) return Promise.resolve(plain);
  return Promise.all(entries.filter((entry) => entry !== null).map(walk)).then((found) => found.flat());
}

async function walk(entry: FileSystemEntry): Promise<Chosen[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail));
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Chosen[] = [];
  for (;;) {
    // A folder's entries come a hundred at a time, until none come.
    const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return found;
    for (const one of await Promise.all(some.map(walk))) found.push(...one);
  }
}

const LONGEST_SIDE = 4096;

/** A photograph without what the camera wrote into it (place, time, device), upright, no larger than is of use. */
export async function plainPhotograph(file: File): Promise<File> {
  const image = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, LONGEST_SIDE / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/jpeg", 0.95));
  if (!blob) throw new Error("This photograph could not be turned into a picture. Take it again, or choose a JPEG file.");
  return new File([blob], "photograph.jpg", { type: "image/jpeg" });
}
