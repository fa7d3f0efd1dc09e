// Windows, tools and what is drawn, as buttons; each has a key.

import { PRESETS } from "../labels";
import type { ViewState } from "../viewer/state";
import type { Actions } from "./keys";
import { SLABS_MM, TOOLS } from "./tools";
import type { Choices, Layout } from "./useChoices";

interface Props {
  state: ViewState;
  actions: Actions;
  choices: Choices;
  /** Whether the study is a picture, which has neither windows nor other slices. */
  picture: boolean;
  comparing: boolean;
}

export function Toolbar({ state, actions, choices, picture, comparing }: Props) {
  const chosen = state.preset.value?.name;
  const drawn = state.heat.value ? state.heatName.value : "Outlines";
  const layer = drawn === "Grad-CAM" ? drawn : drawn.toLowerCase();
  const drawable = state.heat.value ?? state.mask.value;
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
          <IconButton
            key={tool}
            name={name}
            hint={key}
            icon={icon}
            pressed={state.tool.value === tool}
            onClick={() => (state.tool.value = tool)}
          />
        ))}
      </div>
      <div class="set" role="group" aria-label={drawn}>
        <button
          type="button"
          aria-pressed={state.maskShown.value}
          disabled={!drawable}
          title={drawable ? `${drawn} on or off (M)` : "No outlines: this model says whether, not where"}
          onClick={() => (state.maskShown.value = !state.maskShown.value)}
        >
          {drawn}
        </button>
        <label class="opacity">
          <span class="unseen">Opacity of the {layer}</span>
          <input
            type="range"
            min={0}
            max={100}
            step={5}
            disabled={!drawable || !state.maskShown.value}
            value={Math.round(state.maskOpacity.value * 100)}
            title={`Opacity of the ${layer}`}
            onInput={(event) => (state.maskOpacity.value = Number(event.currentTarget.value) / 100)}
          />
        </label>
      </div>
      {!picture && <Layouts state={state} choices={choices} comparing={comparing} />}
      <div class="set" role="group" aria-label="View">
        {!picture && (
          <button type="button" title="To the most suspicious slice (J)" onClick={actions.mostSuspicious}>
            Most suspicious
          </button>
        )}
        <button type="button" aria-pressed={comparing} title="Side by side with another study (C)" onClick={actions.compare}>
          Compare
        </button>
        <button type="button" title="Reset window, zoom and position (R)" onClick={actions.reset}>
          Reset
        </button>
      </div>
    </div>
  );
}

const LAYOUTS: readonly { layout: Layout; name: string }[] = [
  { layout: "single", name: "1 plane" },
  { layout: "planes", name: "3 planes" },
  { layout: "windows", name: "3 windows" },
];

function Layouts({ state, choices, comparing }: Pick<Props, "state" | "choices" | "comparing">) {
  return (
    <div class="set">
      <select
        aria-label="Layout"
        title="Three planes (V); brain, subdural and bone side by side (H)"
        disabled={comparing}
        value={choices.layout.value}
        onChange={(event) => {
          choices.layout.value = event.currentTarget.value as Layout;
        }}
      >
        {LAYOUTS.map(({ layout, name }) => (
          <option key={layout} value={layout}>
            {name}
          </option>
        ))}
      </select>
      <select
        aria-label="Slab"
        title="Brightest voxels of a slab (T)"
        value={state.slab.value}
        onChange={(event) => {
          state.slab.value = Number(event.currentTarget.value);
        }}
      >
        {SLABS_MM.map((mm) => (
          <option key={mm} value={mm}>
            {mm ? `MIP ${mm} mm` : "No slab"}
          </option>
        ))}
      </select>
    </div>
  );
}

interface IconProps {
  name: string;
  hint: string;
  icon: string;
  pressed: boolean;
  onClick: () => void;
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
