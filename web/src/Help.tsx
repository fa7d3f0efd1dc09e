// All keys, on one sheet.

import { useEffect, useRef } from "preact/hooks";

const KEYS: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
  [
    "Slices",
    [
      ["↑ ↓, wheel, drag", "slice by slice"],
      ["Page Up, Page Down", "five slices"],
      ["Home, End", "first, last slice"],
      ["J", "most suspicious slice"],
      ["[ ]", "suspicious slice before, after"],
    ],
  ],
  [
    "Window",
    [
      ["1 2 3 4 5", "brain, subdural, bone, wide, stroke"],
      ["right button, drag", "width across, level up and down"],
      ["I", "inverted"],
      ["N", "pixels as they are"],
    ],
  ],
  [
    "View",
    [
      ["Ctrl + wheel, + −, pinch", "zoom"],
      ["middle button or Shift, drag", "move"],
      ["double click", "whole slice"],
      ["V", "three planes or one"],
      ["H", "brain, subdural, bone side by side"],
      ["T", "slab of 10, 20 mm, or none"],
      ["X", "cross on or off; a click moves it"],
      ["M", "outlines, or the heat map, on or off"],
      ["C", "side by side"],
      ["R", "reset window, zoom and position"],
    ],
  ],
  [
    "Tools of the left button",
    [
      ["S W P Z", "scroll, window, move, zoom"],
      ["L E", "length, ellipse (mean HU)"],
      ["Delete", "remove the last measure"],
    ],
  ],
  [
    "Studies",
    [
      ["A", "to your verdict"],
      [", .", "study before, after"],
      ["Esc", "back to the worklist"],
      ["J K, Enter", "in the worklist: down, up, open"],
      ["/", "in the worklist: search"],
    ],
  ],
];

export function Help({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="sheet help" aria-labelledby="help-title" onClose={onClose}>
      <h2 id="help-title">Keys</h2>
      <div class="keys">
        {KEYS.map(([title, keys]) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {keys.map(([key, meaning]) => (
                <div key={key}>
                  <dt>{key}</dt>
                  <dd>{meaning}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <form method="dialog">
        <button type="submit" class="quiet">
          Close
        </button>
      </form>
    </dialog>
  );
}
