// The tools of the left button or the finger, and the thicknesses of slabs.

import type { Tool } from "../viewer/state";

export const TOOLS: readonly { tool: Tool; key: string; name: string; icon: string }[] = [
  { tool: "scroll", key: "S", name: "Scroll", icon: "M8 1.5v13M4.5 5 8 1.5 11.5 5M4.5 11 8 14.5 11.5 11" },
  { tool: "window", key: "W", name: "Window", icon: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12M8 5h4.5M8 8h6M8 11h4.5" },
  { tool: "pan", key: "P", name: "Move", icon: "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2" },
  { tool: "zoom", key: "Z", name: "Zoom", icon: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5l4 4M5 7h4M7 5v4" },
  { tool: "length", key: "L", name: "Length", icon: "M2.5 13.5l11-11M1 12l3 3M12 1l3 3" },
  { tool: "region", key: "E", name: "Ellipse", icon: "M8 3.5c3.6 0 6.5 2 6.5 4.5s-2.9 4.5-6.5 4.5S1.5 10.5 1.5 8 4.4 3.5 8 3.5z" },
];

export const TOOL_OF_KEY: Readonly<Record<string, Tool>> = Object.fromEntries(TOOLS.map(({ key, tool }) => [key.toLowerCase(), tool]));

/** Thicknesses of the slab that the slices are shown by; 0 for single slices. */
export const SLABS_MM: readonly number[] = [0, 10, 20];
