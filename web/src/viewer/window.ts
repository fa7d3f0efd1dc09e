// From Hounsfield units to grey: one table a window, so that a slice is one look-up a pixel.

import type { Window } from "../labels";
import type { Voxels } from "./volume";

const OFFSET = 32768;

export class GreyTable {
  private readonly table = new Uint32Array(65536);
  private key = "";

  /** Set the window; white where `inverted` is black. */
  set({ level, width }: Window, inverted: boolean): void {
    const key = `${level}/${width}/${inverted}`;
    if (key === this.key) return;
    this.key = key;
    const low = level - width / 2;
    const table = this.table;
    const opaque = 0xff000000;
    const first = Math.max(0, Math.min(65536, Math.ceil(low) + OFFSET));
    const last = Math.max(0, Math.min(65536, Math.floor(low + width) + OFFSET + 1));
    table.fill((inverted ? 0x00ffffff : 0) | opaque, 0, first);
    table.fill((inverted ? 0 : 0x00ffffff) | opaque, last);
    for (let i = first; i < last; i++) {
      const share = (i - OFFSET - low) / width;
      const grey = Math.round(255 * Math.max(0, Math.min(1, inverted ? 1 - share : share)));
      table[i] = opaque | (grey << 16) | (grey << 8) | grey;
    }
  }

  /** Write a plane's greys. */
  apply(values: Voxels, to: Uint32Array): void {
    const table = this.table;
    for (let i = 0; i < values.length; i++) to[i] = table[values[i]! + OFFSET]!;
  }
}
