// What was found, in detail: subtypes against their thresholds, regions, notes on the input.

import { useSignal } from "@preact/signals";
import { cautionOf } from "../cautions";
import { apart, count, duration, probability, ranges, volume } from "../format";
import { LABELS, type LabelName, labelOf } from "../labels";
import type { Findings, Region, Study } from "../types";

interface BarsProps {
  findings: Findings;
  shown: LabelName;
  onShow: (label: LabelName) => void;
}

/** Six bars; choosing one puts its probabilities by slice on the strip. */
export function Bars({ findings, shown, onShow }: BarsProps) {
  const several = findings.n_slices > 1;
  const choice = several ? ({ role: "radiogroup", "aria-label": "Label shown on the strip of slices" } as const) : {};
  return (
    <section aria-labelledby="bars">
      <h3 id="bars">Subtypes</h3>
      <div class="bars" {...choice}>
        {LABELS.map(({ name, display, abbreviation, colour }) => {
          const p = findings.probabilities[name];
          const threshold = findings.thresholds[name];
          const positive = findings.positive[name] === true;
          const row = (
            <>
              <span class={`bar-name ${positive ? "positive" : ""}`}>
                {display} <abbr>{abbreviation}</abbr>
              </span>
              <svg class="bar-track" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                <rect class="track" width="100" height="10" />
                {p !== null && <rect width={Math.max(0.6, p * 100)} height="10" fill={colour} opacity={positive ? 1 : 0.45} />}
                {threshold !== null && <rect class="mark" x={threshold * 100 - 0.5} width="1" height="10" />}
              </svg>
              <b class={`figure ${positive ? "positive" : ""}`}>
                {p !== null && threshold !== null ? apart(p, threshold) : probability(p)}
              </b>
              <span class="limit figure">
                {positive ? "≥" : "<"} {threshold === null || p === null ? "–" : apart(threshold, p)}
              </span>
            </>
          );
          const spoken = `${display}: probability ${probability(p)}, threshold ${probability(threshold)}${positive ? ", suspected" : ""}`;
          return several ? (
            <button
              type="button"
              key={name}
              class="bar-row"
              role="radio"
              aria-checked={shown === name}
              aria-label={spoken}
              onClick={() => onShow(name)}
            >
              {row}
            </button>
          ) : (
            <div key={name} class="bar-row" role="img" aria-label={spoken}>
              {row}
            </div>
          );
        })}
      </div>
    </section>
  );
}

const FIRST_REGIONS = 4;

export function Regions({ findings, onGo }: { findings: Findings; onGo: (region: number) => void }) {
  const all = useSignal(false);
  const { regions } = findings;
  if (!regions.length) return null;
  const rest = regions.slice(FIRST_REGIONS);
  const shown = all.value || rest.length < 2 ? regions : regions.slice(0, FIRST_REGIONS);
  return (
    <section aria-labelledby="regions">
      <h3 id="regions">{count(regions.length, "outlined region")}</h3>
      <ul class="regions">
        {shown.map((region, i) => (
          <li key={i}>
            <button type="button" class="region-row" onClick={() => onGo(i + 1)}>
              <svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">
                <rect width="10" height="10" rx="2" fill={labelOf(region.label).colour} />
              </svg>
              <span>{nameOf(region)}</span>
              {region.volume_ml !== null && <b class="figure">{volume(region.volume_ml)}</b>}
              {findings.n_slices > 1 && (
                <span class="soft">
                  {region.slices.length === 1 ? "slice" : "slices"} {ranges(region.slices)}
                </span>
              )}
            </button>
          </li>
        ))}
      </ul>
      {shown.length < regions.length && (
        <button type="button" class="quiet small" onClick={() => (all.value = true)}>
          {rest.length} smaller ones
          {findings.volume_ml !== null && `, ${volume(rest.reduce((sum, region) => sum + (region.volume_ml ?? 0), 0))}`}
        </button>
      )}
      {findings.kind === "exam" && <p class="soft">Volumes are estimates of the outlined parts, not measurements.</p>}
    </section>
  );
}

/** From this probability on a region's subtype is named alone; below, the two likeliest are named. */
const NAMED_ALONE_FROM = 0.7;

function nameOf(region: Region): string {
  const ordered = Object.entries(region.probabilities).sort((a, b) => b[1] - a[1]);
  const first = ordered[0];
  if (!first) return labelOf(region.label).display;
  if (first[1] >= NAMED_ALONE_FROM) return `${labelOf(first[0]).display} ${probability(first[1])}`;
  return `${ordered
    .slice(0, 2)
    .map(([name, p]) => `${labelOf(name).abbreviation} ${probability(p)}`)
    .join(" or ")}`;
}

export function Warnings({ findings }: { findings: Findings }) {
  const notices = findings.warnings.filter(({ code }) => !cautionOf(code)); // those stand in the summary
  if (!notices.length) return null;
  return (
    <section aria-labelledby="warnings">
      <h3 id="warnings">{count(notices.length, "note")} on the input</h3>
      <ul class="warnings">
        {notices.map((warning, i) => (
          <li key={i}>
            {warning.message}
            {warning.slices?.length ? (
              <span class="soft">
                {" "}
                ({warning.slices.length === 1 ? "slice" : "slices"} {ranges(warning.slices)})
              </span>
            ) : null}
          </li>
        ))}
      </ul>
    </section>
  );
}

export function Facts({ study, findings }: { study: Study; findings: Findings }) {
  const spacing = findings.spacing_mm;
  return (
    <dl class="facts">
      <dt>Study</dt>
      <dd>{study.label}</dd>
      {findings.kind === "exam" && (
        <>
          <dt>Slices</dt>
          <dd>
            {findings.n_slices}
            {spacing && `, ${spacing[0]!.toFixed(1)} mm apart, pixels ${spacing[1]!.toFixed(2)} × ${spacing[2]!.toFixed(2)} mm`}
          </dd>
        </>
      )}
      <dt>Waited, took</dt>
      <dd>
        {duration(study.waited_s)}, {duration(study.took_s)}
      </dd>
      {findings.bundle && (
        <>
          <dt>Model</dt>
          <dd>
            <a href="#/about">
              {findings.bundle.name} {findings.bundle.version}
            </a>
          </dd>
        </>
      )}
    </dl>
  );
}
