// What was found, in detail: subtypes against their thresholds, regions, notes on the input.

import { useSignal } from "@preact/signals";
import { cautionOf, NOTHING_OUTLINED } from "../cautions";
import { apart, count, duration, limit, probability, ranges, volume } from "../format";
import { LABELS, type Label, type LabelName, UNTRUSTED } from "../labels";
import type { Findings, Study } from "../types";
import { regionColour, regionName, untrustedOf } from "./subtypes";

interface BarsProps {
  findings: Findings;
  shown: LabelName;
  onShow: (label: LabelName) => void;
}

/** Six bars; choosing one puts its probabilities by slice on the strip. */
export function Bars({ findings, shown, onShow }: BarsProps) {
  const several = findings.n_slices > 1;
  const untrusted = untrustedOf(findings);
  const choice = several ? ({ role: "radiogroup", "aria-label": "Label shown on the strip of slices" } as const) : {};
  return (
    <section aria-labelledby="bars">
      <h3 id="bars">Subtypes</h3>
      <div class="bars" {...choice}>
        {LABELS.map((label) => {
          const { name, display } = label;
          const reason = untrusted.get(name);
          const bar = barOf(findings, label, reason);
          const row = <BarRow bar={bar} />;
          const spoken = spokenBar(display, bar);
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

interface Bar {
  label: Label;
  p: number | null;
  threshold: number | null;
  /** Whether it is called. */
  above: boolean;
  /** Whether it is called, and to be relied on. */
  positive: boolean;
  /** Why it is not to be relied on. */
  reason: string | undefined;
}

function barOf(findings: Findings, label: Label, reason: string | undefined): Bar {
  const above = findings.positive[label.name] === true;
  return {
    label,
    p: findings.probabilities[label.name],
    threshold: findings.thresholds[label.name],
    above,
    positive: above && reason === undefined,
    reason,
  };
}

function spokenBar(display: string, { p, threshold, above, reason }: Bar): string {
  const called = above ? ", suspected" : "";
  const doubt = reason === undefined ? "" : `, ${UNTRUSTED}`;
  const bound = threshold === null ? "none" : threshold >= 1 ? "none: not called by this model" : limit(threshold, p ?? 0);
  return `${display}: probability ${probability(p)}, threshold ${bound}${called}${doubt}`;
}

/** The threshold as it stands to the probability; at 1 the model never calls the label. */
function limitOf(p: number | null, threshold: number | null, above: boolean): string {
  if (p === null || threshold === null) return "–";
  if (threshold >= 1) return "not called";
  return `${above ? "≥" : "<"} ${limit(threshold, p)}`;
}

function BarRow({ bar: { label, p, threshold, above, positive, reason } }: { bar: Bar }) {
  const fill = reason === undefined ? { fill: label.colour } : { class: "pale" };
  const strength = positive ? "positive" : "";
  const both = p !== null && threshold !== null;
  return (
    <>
      <span class={`bar-name ${strength} ${reason === undefined ? "" : "untrusted"}`} title={reason}>
        {label.display} <abbr>{label.abbreviation}</abbr>
        {reason !== undefined && <span class="mark-untrusted">{UNTRUSTED}</span>}
      </span>
      <svg class="bar-track" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
        <rect class="track" width="100" height="10" />
        {p !== null && <rect width={Math.max(0.6, p * 100)} height="10" {...fill} opacity={positive ? 1 : 0.45} />}
        {threshold !== null && <rect class="mark" x={threshold * 100 - 0.5} width="1" height="10" />}
      </svg>
      <b class={`figure ${strength}`}>{both ? apart(p, threshold) : probability(p)}</b>
      <span class="limit figure">{limitOf(p, threshold, above)}</span>
    </>
  );
}

const FIRST_REGIONS = 4;

export function Regions({ findings, onGo }: { findings: Findings; onGo: (region: number) => void }) {
  const all = useSignal(false);
  const { regions } = findings;
  const untrusted = untrustedOf(findings);
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
                <rect width="10" height="10" rx="2" fill={regionColour(region)} />
              </svg>
              <span class={untrusted.has(region.label) ? "soft" : ""}>{regionName(region, untrusted)}</span>
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

export function Warnings({ findings }: { findings: Findings }) {
  const notices = findings.warnings.filter(({ code }) => !cautionOf(code) && code !== NOTHING_OUTLINED); // those stand in the summary
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
