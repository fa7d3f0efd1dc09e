// Windows, tools and what is drawn, as buttons; each has a key.

import type { ComponentChildren } from "preact";
import { PRESETS } from "../labels";
import type { Tool, ViewState } from "../viewer/state";

const TOOLS: readonly { tool: Tool; key: string; name: string; icon: string }[] = [
  { tool: "scroll", key: "S", name: "Scroll", icon: "M8 1.5v13M4.5 5 8 1.5 11.5 5M4.5 11 8 14.5 11.5 11" },
  { tool: "window", key: "W", name: "Window", icon: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12M8 5h4.5M8 8h6M8 11h4.5" },
  { tool: "pan", key: "P", name: "Move", icon: "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2" },
  { tool: "zoom", key: "Z", name: "Zoom", icon: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5l4 4M5 7h4M7 5v4" },
  { tool: "length", key: "L", name: "Length", icon: "M2.5 13.5l11-11M1 12l3 3M12 1l3 3" },
  { tool: "region", key: "E", name: "Ellipse", icon: "M8 3.5c3.6 0 6.5 2 6.5 4.5s-2.9 4.5-6.5 4.5S1.5 10.5 1.5 8 4.4 3.5 8 3.5z" },
];

export const KEY_TOOLS: Record<string, Tool> = Object.fromEntries(TOOLS.map(({ key, tool }) => [key.toLowerCase(), tool]));

interface Props {
  state: ViewState;
  picture: boolean;
  planes: boolean;
  onPlanes: () => void;
  onJump: () => void;
  onReset: () => void;
  onCompare: () => void;
  comparing: boolean;
}

export function Toolbar({ state, picture, planes, onPlanes, onJump, onReset, onCompare, comparing }: Props) {
  const chosen = state.preset.value?.name;
  return (
    <div class="toolbar" role="toolbar" aria-label="Viewer">
      {!picture && (
        <div class="set" role="group" aria-label="Window">
          {PRESETS.map((preset) => (
            <button
              type="button"
              key={preset.name}
              aria-pressed={chosen === preset.name}
              title={`${preset.display}: level ${preset.level}, width ${preset.width} (${preset.key})`}
              onClick={() => state.setWindow(preset)}
            >
              {preset.display}
            </button>
          ))}
        </div>
      )}
      <div class="set" role="group" aria-label="Tool of the left button or the finger">
        {TOOLS.filter(({ tool }) => !picture || tool !== "scroll").map(({ tool, key, name, icon }) => (
          <IconButton key={tool} name={name} hint={key} icon={icon} pressed={state.tool.value === tool} onClick={() => (state.tool.value = tool)} />
        ))}
      </div>
      <div class="set" role="group" aria-label="Outlines">
        <button
          type="button"
          aria-pressed={state.maskShown.value}
          disabled={!state.mask.value}
          title="Outlines on or off (M)"
          onClick={() => (state.maskShown.value = !state.maskShown.value)}
        >
          Outlines
        </button>
        <label class="opacity">
          <span class="unseen">Opacity of the outlines</span>
          <input
            type="range"
            min={0}
            max={100}
            step={5}
            disabled={!state.mask.value || !state.maskShown.value}
            value={Math.round(state.maskOpacity.value * 100)}
            title="Opacity of the outlines"
            onInput={(event) => (state.maskOpacity.value = Number(event.currentTarget.value) / 100)}
          />
        </label>
      </div>
      <div class="set" role="group" aria-label="View">
        {!picture && (
          <button type="button" title="To the most suspicious slice (J)" onClick={onJump}>
            Most suspicious
          </button>
        )}
        {!picture && (
          <button type="button" aria-pressed={planes} disabled={comparing} title="Coronal and sagittal views (V)" onClick={onPlanes}>
            3 planes
          </button>
        )}
        <button type="button" aria-pressed={comparing} title="Side by side with another study (C)" onClick={onCompare}>
          Compare
        </button>
        <button type="button" title="Window, zoom and place as at first (R)" onClick={onReset}>
          Reset
        </button>
      </div>
    </div>
  );
}

interface IconProps {
  name: string;
  hint: string;
  icon: string;
  pressed: boolean;
  onClick: () => void;
  children?: ComponentChildren;
}

function IconButton({ name, hint, icon, pressed, onClick }: IconProps) {
  return (
    <button type="button" class="icon" aria-pressed={pressed} aria-label={name} title={`${name} (${hint})`} onClick={onClick}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <path d={icon} />
      </svg>
    </button>
  );
}
