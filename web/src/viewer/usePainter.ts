// Draws a plane on its canvas whenever something of the view changes.

import { useSignalEffect } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Window } from "../labels";
import { Painter } from "./draw";
import type { Fit } from "./fit";
import { listen } from "./gestures";
import type { ViewState } from "./state";
import type { Axis } from "./volume";

export interface PlaneView {
  state: ViewState;
  axis: Axis;
  /** Whether the cross is shown; on the main plane only where the reader wants it. */
  crosshair: boolean;
  main: boolean;
  /** A window of the plane's own, in place of the viewer's. */
  window: Window | undefined;
}

/** Paint on `canvas` and listen on `box`, which surrounds it. */
export function usePainter(box: RefObject<HTMLElement>, canvas: RefObject<HTMLCanvasElement>, view: PlaneView): void {
  const { state, axis, crosshair, main, window: own } = view;
  const fit = useRef<Fit | null>(null);
  const redraw = useRef<() => void>(() => {});

  useEffect(() => {
    const painter = new Painter(canvas.current!);
    let frame = 0;
    const paint = (): void => {
      frame = 0;
      const to = canvas.current;
      if (!to) return;
      fit.current = painter.paint(state, axis, { crosshair: crosshair && (!main || state.crosshair.peek()), lengths: main, window: own });
      // What is on the screen now, for the tests.
      if (fit.current) to.dataset["drawn"] = `${axis} ${state.slice(axis)}`;
      else delete to.dataset["drawn"];
    };
    redraw.current = () => {
      frame ||= requestAnimationFrame(paint);
    };
    const sized = new ResizeObserver(() => {
      resize(canvas.current!);
      redraw.current();
    });
    sized.observe(canvas.current!);
    const off = listen(box.current!, state, axis, () => fit.current);
    redraw.current();
    return () => {
      cancelAnimationFrame(frame);
      sized.disconnect();
      off();
    };
  }, [box, canvas, state, axis, crosshair, main, own]);

  useSignalEffect(() => {
    // Read, so that a change of any of them draws anew.
    void [state.volume.value, state.source.value, state.redraws.value, state.mask.value, state.heat.value];
    void [state.colours.value, state.point.value];
    void [state.window.value, state.inverted.value, state.smooth.value, state.slab.value, state.crosshair.value];
    void [state.maskShown.value, state.maskOpacity.value, state.measures.value, state.poses[axis].value];
    redraw.current();
  });
}

/** As many pixels as the device shows. */
function resize(canvas: HTMLCanvasElement): void {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width === width && canvas.height === height) return;
  canvas.width = width;
  canvas.height = height;
}
