// What draws a plane's greys. NiiVue does, with WebGL 2; a plain canvas stands in where that is missing or done by the
// processor alone (a remote desktop, a computer without a graphics card): there every change of the window would take seconds.

import type { Fit } from "./draw";
import type { ViewState } from "./state";
import type { Axis, Plane } from "./volume";
import { GreyTable } from "./window";

export interface Source {
  readonly name: "niivue" | "plain";
  /** Draw the slice where `fit` tells, on a context whose unit is the device's pixel; false where it is not ready. */
  draw(context: CanvasRenderingContext2D, state: ViewState, axis: Axis, plane: Plane, fit: Fit, ratio: number): boolean;
  close(): void;
}

/** Greys by table, drawn by the browser's own scaling. */
export class PlainSource implements Source {
  readonly name = "plain";
  private readonly grey = new GreyTable();
  private readonly sheet = document.createElement("canvas");
  private readonly sheetContext = this.sheet.getContext("2d")!;

  draw(context: CanvasRenderingContext2D, state: ViewState, _axis: Axis, plane: Plane, fit: Fit, ratio: number): boolean {
    if (this.sheet.width !== plane.width || this.sheet.height !== plane.height) {
      this.sheet.width = plane.width;
      this.sheet.height = plane.height;
    }
    const image = this.sheetContext.createImageData(plane.width, plane.height);
    this.grey.set(state.window.value, state.inverted.value);
    this.grey.apply(plane.values, new Uint32Array(image.data.buffer));
    this.sheetContext.putImageData(image, 0, 0);
    context.setTransform(ratio * fit.columnScale, 0, 0, ratio * fit.rowScale, ratio * fit.left, ratio * fit.top);
    context.imageSmoothingEnabled = state.smooth.value;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.sheet, 0, 0);
    return true;
  }

  close(): void {}
}

export type Choice = "auto" | "niivue" | "plain";

/** The choice that was kept (in the page's about sheet), or the one that fits this computer. */
export function chosenRenderer(): { chosen: Choice; used: "niivue" | "plain"; why: string } {
  const kept = localStorage.getItem("ichor.renderer");
  const chosen: Choice = kept === "niivue" || kept === "plain" ? kept : "auto";
  if (chosen === "plain") return { chosen, used: "plain", why: "chosen on this computer" };
  const probe = document.createElement("canvas");
  const any = probe.getContext("webgl2");
  any?.getExtension("WEBGL_lose_context")?.loseContext();
  if (!any) return { chosen, used: "plain", why: "this browser has no WebGL 2" };
  if (chosen === "niivue") return { chosen, used: "niivue", why: "chosen on this computer" };
  const fast = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
  fast?.getExtension("WEBGL_lose_context")?.loseContext();
  return fast
    ? { chosen, used: "niivue", why: "WebGL 2 with a graphics card" }
    : { chosen, used: "plain", why: "WebGL 2 is done by the processor here, which is slow" };
}
