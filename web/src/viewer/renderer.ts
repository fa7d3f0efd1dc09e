// Which renderer draws images on this computer. NiiVue does, with WebGL 2; a plain canvas where that is missing or emulated by
// the processor (a remote desktop, a computer without a graphics card): there every change of the window would take seconds.

export type Choice = "auto" | "niivue" | "plain";

export interface Renderer {
  chosen: Choice;
  used: "niivue" | "plain";
  why: string;
}

const KEY = "ichor.renderer";

/** The choice made on the page's about sheet, or the renderer that fits this computer. */
export function chosenRenderer(): Renderer {
  const stored = localStorage.getItem(KEY);
  const chosen: Choice = stored === "niivue" || stored === "plain" ? stored : "auto";
  if (chosen === "plain") return { chosen, used: "plain", why: "chosen on this computer" };
  if (!hasWebgl2({})) return { chosen, used: "plain", why: "this browser has no WebGL 2" };
  if (chosen === "niivue") return { chosen, used: "niivue", why: "chosen on this computer" };
  return hasWebgl2({ failIfMajorPerformanceCaveat: true })
    ? { chosen, used: "niivue", why: "WebGL 2 with a graphics card" }
    : { chosen, used: "plain", why: "WebGL 2 is emulated by the processor here, which is slow" };
}

export function chooseRenderer(choice: Choice): void {
  if (choice === "auto") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, choice);
}

function hasWebgl2(attributes: WebGLContextAttributes): boolean {
  const context = document.createElement("canvas").getContext("webgl2", attributes);
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return context !== null;
}
