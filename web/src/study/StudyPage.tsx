// One study: viewer, strip, findings, the reader's verdict.

import { batch, useComputed, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { api, fileAddress } from "../api";
import { clock, count, duration, probability } from "../format";
import type { LabelName } from "../labels";
import { go, place, toStudy } from "../router";
import type { Study } from "../types";
import { openVolume } from "../viewer/opening";
import { ViewState } from "../viewer/state";
import { Strip } from "../viewer/Strip";
import { Viewport } from "../viewer/Viewport";
import type { Axis } from "../viewer/volume";
import { now, studies, watch } from "../worklist/live";
import { ComparePicker, PriorView } from "./Compare";
import { Bars, Facts, Regions, VerdictOf, Warnings } from "./Findings";
import { type Acts, press } from "./keys";
import { type Loaded, load, markedSlices, regionCentre, unload } from "./load";
import { Toolbar } from "./Toolbar";
import { VerdictForm } from "./VerdictForm";

/** One view for all studies: its NiiVue, and with it the graphics card's memory, is used again. */
const view = new ViewState();

export function StudyPage({ id, prior }: { id: string; prior: string | null }) {
  const study = useSignal<Study | null>(studies.peek().find((one) => one.id === id) ?? null);
  const loaded = useSignal<Loaded | null>(null);
  const progress = useSignal(0);
  const problem = useSignal("");
  const label = useSignal<LabelName>("any");
  const planes = useSignal(window.matchMedia("(min-width: 900px)").matches);
  const large = useSignal<Axis>("axial");
  const picking = useSignal(false);
  const spoken = useSignal("");
  const form = useRef<HTMLDivElement>(null);
  const marked = useComputed(() => markedSlices(loaded.value?.mask ?? null));

  useEffect(() => {
    const off = watch((changed, changedId) => {
      if (changedId !== id) return;
      if (!changed) {
        unload(id);
        go("#/");
      } else study.value = changed;
    });
    void api.study(id).then(
      (found) => (study.value = found),
      (error: unknown) => (problem.value = error instanceof Error ? error.message : String(error)),
    );
    return off;
  }, [id]);

  const state = study.value?.state;
  // Of what was refused before it was read there is nothing to ask for.
  const nothing = state === "refused" && study.value?.n_slices === null;
  useEffect(() => {
    const row = study.peek();
    if (!row || row.id !== id || nothing || (state !== "ready" && state !== "refused")) return;
    const stop = new AbortController();
    batch(() => {
      view.volume.value = null;
      loaded.value = null;
      label.value = "any";
      large.value = "axial";
    });
    load(row, stop.signal, (share) => (progress.value = share))
      .then(async (found) => {
        if (found.volume) await openVolume(view, found.volume, found.mask, found.colours, found.native, stop.signal);
        if (stop.signal.aborted) return;
        loaded.value = found;
        if (found.findings.kind === "exam") {
          // The other planes pass through the largest outlined region.
          const centre = found.mask && regionCentre(found.mask, 1);
          if (centre) view.point.value = centre;
          view.goTo("axial", found.slices.display.suspicious);
        }
      })
      .catch((error: unknown) => {
        if (stop.signal.aborted) return;
        if (row.state === "refused") return; // nothing is kept of it but the reason
        problem.value = error instanceof Error ? error.message : String(error);
      });
    return () => stop.abort();
  }, [id, state, nothing]);

  const acts: Acts = useMemo(
    () => ({
      jump: () => {
        const found = loaded.peek();
        if (found) view.goTo("axial", found.slices.display.suspicious);
      },
      suspicious: (direction) => {
        const found = loaded.peek();
        const threshold = found?.findings.thresholds[label.peek()];
        if (!found || threshold === null || threshold === undefined) return;
        const hot = found.slices.slices.filter((s) => s.display !== null && (s.probabilities[label.peek()] ?? 0) >= threshold);
        const here = view.slice("axial");
        const ahead = hot.map((s) => s.display!).filter((at) => (direction > 0 ? at > here : at < here));
        if (ahead.length) view.goTo("axial", direction > 0 ? Math.min(...ahead) : Math.max(...ahead));
      },
      planes: () => (planes.value = !planes.peek()),
      compare: () => {
        if (place.peek().at === "study" && (place.peek() as { prior: string | null }).prior) go(toStudy(id));
        else picking.value = true;
      },
      reset: () => view.reset(),
      back: () => go("#/"),
      neighbour: (direction) => {
        const ready = studies.peek().filter((one) => one.state === "ready" || one.state === "refused");
        const at = ready.findIndex((one) => one.id === id);
        const next = ready[at + direction];
        if (at >= 0 && next) go(toStudy(next.id));
      },
      verdict: () => form.current?.querySelector<HTMLElement>("input, button")?.focus(),
      print: () => window.print(),
    }),
    [id],
  );

  useLayoutEffect(() => {
    const listen = (event: KeyboardEvent): void => {
      if (event.defaultPrevented) return;
      if (press(event, view, acts)) event.preventDefault();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, [acts]);

  // Said once scrolling rests, for whoever hears the page.
  useEffect(() => {
    let timer = 0;
    const off = view.point.subscribe(() => {
      clearTimeout(timer);
      timer = window.setTimeout(() => {
        const found = loaded.peek();
        const volume = view.volume.peek();
        if (!found || !volume || volume.size[2] < 2) return;
        const at = view.slice("axial");
        const native = found.slices.display.source[at];
        const p = found.slices.slices.find((slice) => slice.index === native)?.probabilities[label.peek()];
        const { number, of } = view.count("axial");
        spoken.value = `Slice ${number ?? "missing"} of ${of}${p === null || p === undefined ? "" : `, probability ${probability(p)}`}`;
      }, 600);
    });
    return () => {
      clearTimeout(timer);
      off();
    };
  }, [id]);

  const row = study.value;
  if (!row) return <main class="alone">{problem.value ? <p class="problem" role="alert">{problem.value}</p> : <p class="soft">Loading</p>}</main>;
  const found = loaded.value;
  // The view is shared by all studies: until this one's own images are in it, it shows another patient's.
  const volume = found?.volume && view.volume.value === found.volume ? found.volume : null;
  const picture = row.kind === "picture";
  const threePlanes = planes.value && !picture && !prior && volume !== null && volume.size[2] > 2;
  const order: Axis[] = threePlanes ? [large.value, ...(["axial", "coronal", "sagittal"] as const).filter((a) => a !== large.value)] : ["axial"];
  const goRegion = (region: number): void => {
    const at = found?.mask && regionCentre(found.mask, region);
    if (at) view.point.value = at;
  };

  return (
    <main class={`study ${picture ? "picture" : ""}`} id="content">
      <StudyHead row={row} />
      <p class="unseen" aria-live="polite">
        {spoken.value}
      </p>
      <div class="study-grid">
        <section class="viewer" aria-label="Images">
          {volume || found ? (
            <Toolbar
              state={view}
              picture={picture}
              planes={threePlanes}
              onPlanes={acts.planes}
              onJump={acts.jump}
              onReset={acts.reset}
              onCompare={acts.compare}
              comparing={prior !== null}
            />
          ) : null}
          <div class={`planes ${threePlanes ? "three" : prior ? "two" : "one"}`}>
            {volume ? (
              <>
                {order.map((axis, i) => (
                  <Viewport
                    key={axis}
                    state={view}
                    axis={axis}
                    title={prior ? row.label : undefined}
                    crosshair={threePlanes}
                    main={i === 0}
                    onEnlarge={i > 0 ? () => (large.value = axis) : undefined}
                  />
                ))}
                {prior && <PriorView id={prior} main={view} />}
              </>
            ) : (
              <Waiting row={row} progress={progress.value} problem={problem.value} />
            )}
          </div>
          {found && volume && (
            <Strip state={view} slices={found.slices.slices} label={label.value} threshold={found.findings.thresholds[label.value]} marked={marked.value} />
          )}
        </section>
        <aside class="panel" aria-label="Findings">
          <VerdictOf study={row} findings={found?.findings ?? null} />
          {found?.findings.assessable && <Bars findings={found.findings} shown={label.value} onShow={(name) => (label.value = name)} />}
          {found && <Regions findings={found.findings} onGo={goRegion} />}
          {found && found.findings.assessable && <Warnings findings={found.findings} />}
          {(found || row.state === "refused") && !row.duplicate_of && (
            <div ref={form}>
              <VerdictForm key={id} study={row} findings={found?.findings ?? null} onSaved={(saved) => (study.value = saved)} />
            </div>
          )}
          {found && <Downloads row={row} outlined={found.findings.regions.length > 0} />}
          {found && <Facts study={row} findings={found.findings} />}
          <p class="research">Research use, not a medical device. Every exam must be read by a person who can read head CT.</p>
        </aside>
      </div>
      {picking.value && (
        <ComparePicker
          id={id}
          onClose={() => (picking.value = false)}
          onPick={(other) => {
            picking.value = false;
            go(toStudy(id, other));
          }}
        />
      )}
    </main>
  );
}

function StudyHead({ row }: { row: Study }) {
  const ready = studies.value.filter((one) => one.state === "ready" || one.state === "refused");
  const at = ready.findIndex((one) => one.id === row.id);
  const before = at > 0 ? ready[at - 1] : undefined;
  const after = at >= 0 ? ready[at + 1] : undefined;
  return (
    <div class="study-head">
      <a class="button quiet" href="#/" title="Back to the worklist (Esc)" aria-label="Worklist">
        ←<span class="hide-small"> Worklist</span>
      </a>
      <h1>
        <span class="unseen">Study </span>
        {row.label}
      </h1>
      <span class="soft hide-small">
        {row.n_slices && row.n_slices > 1 ? `${count(row.n_slices, "slice")}, ` : ""}arrived {clock(row.arrived)}
      </span>
      {row.read_by && (
        <span class="tag read">
          Read by {row.read_by}
          <span class="hide-small"> at {clock(row.read_at)}</span>
        </span>
      )}
      <span class="grow" />
      <nav class="row" aria-label="Neighbouring studies">
        <a class={`button quiet ${before ? "" : "off"}`} href={before ? toStudy(before.id) : undefined} aria-disabled={!before} title="Study before ( , )">
          <span aria-hidden="true">‹</span>
          <span class="small-unseen">Previous</span>
        </a>
        <a class={`button quiet ${after ? "" : "off"}`} href={after ? toStudy(after.id) : undefined} aria-disabled={!after} title="Study after ( . )">
          <span class="small-unseen">Next</span>
          <span aria-hidden="true">›</span>
        </a>
      </nav>
    </div>
  );
}

function Waiting({ row, progress, problem }: { row: Study; progress: number; problem: string }) {
  const waited = (now.value - Date.parse(row.arrived)) / 1000;
  return (
    <div class="waiting" role="status">
      {problem ? (
        <p class="problem">{problem}</p>
      ) : row.state === "refused" ? (
        <p>There are no images to show: nothing is kept of what could not be assessed.</p>
      ) : row.state === "ready" ? (
        <>
          <p>Loading images</p>
          <progress max={1} value={progress || undefined} aria-label="Loading images" />
        </>
      ) : (
        <>
          <p>
            <b>{row.state === "queued" ? "Waiting for its turn" : row.state === "reading" ? "Reading the files" : "Detecting"}</b>
          </p>
          <p class="soft">{duration(waited)} since it arrived. This page goes on by itself.</p>
        </>
      )}
    </div>
  );
}

function Downloads({ row, outlined }: { row: Study; outlined: boolean }) {
  const name = row.label.replace(/[^\w.-]+/g, "_");
  const files: [string, string, string][] = [
    ["Findings (JSON)", "findings", `${name}.json`],
    ...(row.kind === "exam" ? ([["Mask (NIfTI)", "mask-native.nii.gz", `${name}-mask.nii.gz`]] as [string, string, string][]) : []),
    ...(outlined ? ([["Outlined slices (PNG)", "overlays.zip", `${name}-overlays.zip`]] as [string, string, string][]) : []),
  ];
  return (
    <section class="downloads" aria-labelledby="downloads">
      <h3 id="downloads">Take away</h3>
      <p class="row wrap">
        <button type="button" class="quiet small" onClick={() => window.print()}>
          Print or PDF
        </button>
        <a class="button quiet small" href={fileAddress(row.id, "report.html")} target="_blank" rel="noopener">
          Full report
        </a>
        {files.map(([words, path, file]) => (
          <a key={path} class="button quiet small" href={fileAddress(row.id, path)} download={file}>
            {words}
          </a>
        ))}
      </p>
    </section>
  );
}
