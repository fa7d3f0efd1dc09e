// The place in the page: the address behind the hash, so that "back" works without the server.

import { signal } from "@preact/signals";

export type Place = { at: "worklist" } | { at: "study"; id: string; prior: string | null } | { at: "about" } | { at: "api" };

function read(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, id] = path.split("/");
  if (first === "study" && id && /^[\w-]+$/.test(id)) {
    const prior = new URLSearchParams(query).get("with");
    return { at: "study", id, prior: prior && /^[\w-]+$/.test(prior) ? prior : null };
  }
  return first === "about" || first === "api" ? { at: first } : { at: "worklist" };
}

export const place = signal<Place>(read());
window.addEventListener("hashchange", () => (place.value = read()));

export function toStudy(id: string, prior?: string | null): string {
  return `#/study/${id}${prior ? `?with=${prior}` : ""}`;
}

export function go(hash: string): void {
  location.hash = hash;
}
