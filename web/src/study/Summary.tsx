// What was found, in short: suspected or not, what makes that doubtful, and why a study was not assessed.

import { cautionOf, NOTHING_OUTLINED } from "../cautions";
import { apart, limit, volume } from "../format";
import { SubtypeNames } from "../SubtypeNames";
import type { Findings, Notice, Study } from "../types";
import { GRAD_CAM, likely, locates } from "./subtypes";

const LOOK_AT_BARS = "Look at the slices with the highest bars below the images.";
/** Of findings from before the reason was kept. */
const NOT_OUTLINED = "Nothing is outlined: whole slices look suspicious, but no part of them stood out enough to be drawn.";
const WHETHER_NOT_WHERE = `This model says whether, not where: it draws no outlines and gives no volume. ${LOOK_AT_BARS}`;

interface Props {
  study: Study;
  findings: Findings | null;
  /** Whether the images show a heat map. */
  heated: boolean;
}

export function Summary({ study, findings, heated }: Props) {
  if (study.state === "refused") return <NotAssessed reason={study.refusal?.message || "No reason was recorded."} />;
  if (!findings) return null;
  const p = findings.probabilities.any;
  const threshold = findings.thresholds.any;
  if (!findings.assessable || p === null || threshold === null) {
    return <NotAssessed reason={findings.warnings.map((warning) => warning.message).join(" ")} />;
  }
  const positive = findings.positive.any === true;
  const exam = findings.kind === "exam";
  return (
    <section class={`summary ${positive ? "positive" : "negative"}`} aria-labelledby="summary">
      <h2 id="summary">
        {positive ? "Hemorrhage suspected" : "No hemorrhage suspected"}
        {findings.uncertain && <span class="tag uncertain">uncertain</span>}
      </h2>
      <dl class="figures">
        <div>
          <dt>Probability</dt>
          <dd>{apart(p, threshold)}</dd>
        </div>
        <div>
          <dt>Threshold</dt>
          <dd>{limit(threshold, p)}</dd>
        </div>
        {exam && findings.volume_ml !== null && (
          <div>
            <dt>Outlined</dt>
            <dd>{findings.regions.length ? volume(findings.volume_ml) : "none"}</dd>
          </div>
        )}
        {positive && findings.subtypes && (
          <div>
            <dt>Type</dt>
            <dd class="type">
              <SubtypeNames subtypes={likely(findings)} />
            </dd>
          </div>
        )}
      </dl>
      <Cautions notices={findings.warnings} />
      {positive && findings.regions.length === 0 && <NotOutlined findings={findings} heated={heated} />}
      {!positive && <p class="soft">This {exam ? "exam" : "picture"} stays below the threshold. That does not rule hemorrhage out.</p>}
      {findings.uncertain && findings.uncertainty && <Borderline measured={findings.uncertainty} />}
      {!exam && <p class="soft">A picture has no Hounsfield units and no scale: the verdict is weaker, and no volume is given.</p>}
    </section>
  );
}

/** Why nothing is outlined, and what is shown in its place. */
function NotOutlined({ findings, heated }: { findings: Findings; heated: boolean }) {
  const gradCam = findings.warnings.find(({ code }) => code === GRAD_CAM);
  if (gradCam && heated)
    return (
      <p class="caution" data-code={GRAD_CAM}>
        <b>Suspected, without an outline.</b> {WHETHER_NOT_WHERE} {gradCam.message}
      </p>
    );
  if (!locates(findings)) return <p class="caution">{WHETHER_NOT_WHERE}</p>;
  const reason = findings.warnings.find(({ code }) => code === NOTHING_OUTLINED)?.message ?? NOT_OUTLINED;
  return (
    <p class="caution" data-code={NOTHING_OUTLINED}>
      <b>Suspected, without an outline.</b> {reason}{" "}
      {heated
        ? "The orange veil on the images is the network's heat map: it shows where the network's map is highest. It is not an outline, and measures nothing."
        : findings.n_slices > 1 && LOOK_AT_BARS}
    </p>
  );
}

function NotAssessed({ reason }: { reason: string }) {
  return (
    <section class="summary refused" aria-labelledby="summary">
      <h2 id="summary">Not assessed</h2>
      <p>{reason}</p>
    </section>
  );
}

function Cautions({ notices }: { notices: readonly Notice[] }) {
  return (
    <>
      {notices.map(({ code, message }) => {
        const caution = cautionOf(code);
        return (
          caution && (
            <p key={code} class="caution" data-code={code}>
              <b>{caution.title}.</b> {message}
            </p>
          )
        );
      })}
    </>
  );
}

function Borderline({ measured }: { measured: string }) {
  return (
    <div class="caution">
      <b>Borderline.</b> With a probability like this, exams with and without hemorrhage cannot be told apart. Read the images as if the
      model had given no answer.
      <details>
        <summary>How this was measured</summary>
        <p>{measured}</p>
      </details>
    </div>
  );
}
