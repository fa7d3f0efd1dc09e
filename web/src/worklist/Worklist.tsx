// The worklist: what to read first, what is under way, what was refused and why.

import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { api, BASE, fileAddress } from "../api";
import { cautionOf } from "../cautions";
import { messageOf } from "../errors";
import { apart, clock, count, duration, probability, volume } from "../format";
import { isTaken } from "../keyboard";
import { toStudy } from "../router";
import { SubtypeNames } from "../SubtypeNames";
import { isDone, type Study } from "../types";
import { submitExample, transfers } from "../upload/transfer";
import { UploadPanel } from "../upload/UploadPanel";
import { Whose } from "../Whose";
import { limit, live, loaded, now, PAGE, problem, refresh, type Show, search, show, studies, total, verdictIs } from "./live";

const SHOWS: readonly { show: Show; name: string }[] = [
  { show: "all", name: "All" },
  { show: "unread", name: "Unread" },
  { show: "flagged", name: "Suspected" },
  { show: "waiting", name: "Under way" },
  { show: "refused", name: "Not assessed" },
  { show: "read", name: "Read" },
];

export function Worklist() {
  const box = useRef<HTMLTableSectionElement>(null);
  const searchBox = useRef<HTMLInputElement>(null);

  useEffect(() => {
    void refresh();
  }, [show.value, verdictIs.value, limit.value]);
  useEffect(() => {
    const timer = setTimeout(() => void refresh(), 180);
    return () => clearTimeout(timer);
  }, [search.value]);

  useLayoutEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (isTaken(event)) return;
      if (event.key === "/") searchBox.current?.focus();
      else if (event.key === "j" || event.key === "ArrowDown") step(1);
      else if (event.key === "k" || event.key === "ArrowUp") step(-1);
      else return;
      event.preventDefault();
    };
    const step = (by: number): void => {
      const links = [...(box.current?.querySelectorAll<HTMLElement>("a.open") ?? [])];
      const at = links.indexOf(document.activeElement as HTMLElement);
      links[Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);

  const rows = studies.value;
  return (
    <main class="worklist" id="content">
      <UploadPanel />
      <div class="list-head">
        <h1>Worklist</h1>
        <span class={`live ${live.value ? "on" : ""}`} role="status">
          {live.value ? "live" : "not connected"}
        </span>
        <div class="set filters" role="group" aria-label="Show">
          {SHOWS.map((one) => (
            <button type="button" key={one.show} aria-pressed={show.value === one.show} onClick={() => (show.value = one.show)}>
              {one.name}
            </button>
          ))}
        </div>
        <select
          aria-label="Verdict"
          value={verdictIs.value}
          onChange={(event) => (verdictIs.value = event.currentTarget.value as "" | "agree" | "disagree")}
        >
          <option value="">Any verdict</option>
          <option value="agree">Reader agreed</option>
          <option value="disagree">Reader disagreed</option>
        </select>
        <input
          ref={searchBox}
          type="search"
          aria-label="Search the worklist"
          placeholder="Search (/)"
          value={search.value}
          onInput={(event) => (search.value = event.currentTarget.value)}
        />
        <Exports />
      </div>
      {problem.value && (
        <p class="problem" role="alert">
          {problem.value}
        </p>
      )}
      {rows.length > 0 && (
        <table class="list">
          <caption class="unseen">Studies, most urgent first</caption>
          <thead>
            <tr>
              <th scope="col" class="c-place">
                <abbr title="Place in the worklist">#</abbr>
              </th>
              <th scope="col">Study</th>
              <th scope="col">Result</th>
              <th scope="col" class="number">
                Probability
              </th>
              <th scope="col" class="number">
                Outlined
              </th>
              <th scope="col">Arrived</th>
              <th scope="col" class="number">
                Waited
              </th>
              <th scope="col" class="number">
                Took
              </th>
              <th scope="col">Read</th>
              <th scope="col">
                <span class="unseen">Delete</span>
              </th>
            </tr>
          </thead>
          <tbody ref={box}>
            {rows.map((study) => (
              <Row key={study.id} study={study} />
            ))}
          </tbody>
        </table>
      )}
      {loaded.value && rows.length === 0 && <Empty />}
      {rows.length < total.value && (
        <p class="more">
          {rows.length} of {total.value}{" "}
          <button type="button" class="quiet small" onClick={() => (limit.value = Math.min(500, limit.value + PAGE))}>
            Show more
          </button>
        </p>
      )}
    </main>
  );
}

function Empty() {
  if (show.value !== "all" || search.value || verdictIs.value) return <p class="empty">No study fits what is asked for.</p>;
  if (transfers.value.length) return null; // the first is on its way
  return (
    <div class="empty">
      <p>No studies yet. Drag one onto this page, or try it with a simulated exam, which is of no patient.</p>
      <button type="button" onClick={() => void submitExample()}>
        Load the simulated exam
      </button>
    </div>
  );
}

function Row({ study }: { study: Study }) {
  const open = (event: MouseEvent): void => {
    // The path, because a clicked button may be replaced before the row gets its click.
    const control = event.composedPath().some((one) => one instanceof Element && one.matches("a, button"));
    if (control || getSelection()?.toString()) return;
    location.hash = toStudy(study.id);
  };
  const raised = study.flagged && !study.read_at;
  return (
    <tr class={`${raised ? "raised" : ""} ${study.read_at ? "was-read" : ""}`} data-state={study.state} data-id={study.id} onClick={open}>
      <td class="c-place number soft">{study.place}</td>
      <td class="c-study">
        <span class="thumb" aria-hidden="true">
          {isDone(study) && study.n_slices ? (
            <img src={fileAddress(study.id, "thumbnail.png")} alt="" width={44} height={44} loading="lazy" onError={hide} />
          ) : null}
        </span>
        <span>
          <a class="open" href={toStudy(study.id)}>
            {study.label}
          </a>
          <Whose id={study.id} />
          <span class="soft under">
            {study.kind === "picture" ? "picture" : study.n_slices ? count(study.n_slices, "slice") : study.kind === "exam" ? "exam" : ""}
            {study.warnings_n > 0 && study.state === "ready" ? `, ${count(study.warnings_n, "note")}` : ""}
          </span>
        </span>
      </td>
      <td class="c-result">
        <Result study={study} />
      </td>
      <td class="c-p number" data-name="Probability">
        <Probability study={study} />
      </td>
      <td class="c-ml number" data-name="Outlined">
        {study.volume_ml ? volume(study.volume_ml) : ""}
      </td>
      <td class="c-arrived" data-name="Arrived">
        {clock(study.arrived)}
      </td>
      <td class="c-waited number" data-name="Waited">
        <Waited study={study} />
      </td>
      <td class="c-took number" data-name="Took">
        {isDone(study) ? duration(study.took_s) : ""}
      </td>
      <td class="c-read">
        {study.read_by && (
          <>
            {study.read_by}
            <span class="soft under">
              {clock(study.read_at)}, {study.verdict === "agree" ? "agrees" : "disagrees"}
            </span>
          </>
        )}
      </td>
      <td class="c-delete">
        <Delete study={study} />
      </td>
    </tr>
  );
}

function hide(event: Event): void {
  (event.currentTarget as HTMLElement).hidden = true;
}

function Result({ study }: { study: Study }) {
  switch (study.state) {
    case "queued":
      return <span class="tag">Queued</span>;
    case "reading":
      return <span class="tag busy">Reading</span>;
    case "detecting":
      return <span class="tag busy">Detecting</span>;
    case "refused":
      return (
        <>
          <span class="tag refused">Not assessed</span>
          <span class="under reason">{study.refusal?.message}</span>
        </>
      );
    case "ready": {
      return (
        <>
          <span class={`tag ${study.flagged ? "positive" : "negative"}`}>{study.flagged ? "Suspected" : "Not suspected"}</span>
          {study.uncertain && <span class="tag uncertain">uncertain</span>}
          {study.cautions.map((code) => (
            <span key={code} class="tag caution" title={cautionOf(code)?.title}>
              {cautionOf(code)?.chip ?? code}
            </span>
          ))}
          {study.flagged && study.subtypes && (
            <span class="under subtypes">
              <SubtypeNames subtypes={study.subtypes} />
            </span>
          )}
        </>
      );
    }
  }
}

function Probability({ study }: { study: Study }) {
  if (study.probability === null) return null;
  const p = study.probability;
  return (
    <>
      <b class="figure">{study.flagged || p >= 0.005 ? probability(p) : apart(p, 0)}</b>
      <svg class="mini" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class="track" width="100" height="6" />
        <rect class={study.flagged ? "hot" : "bar"} width={Math.max(1, p * 100)} height="6" />
      </svg>
    </>
  );
}

/** Time until its processing began; runs on while it waits. */
function Waited({ study }: { study: Study }) {
  if (study.state === "queued") return <span class="figure">{duration(Math.max(0, (now.value - Date.parse(study.arrived)) / 1000))}</span>;
  return <>{duration(study.waited_s)}</>;
}

function Delete({ study }: { study: Study }) {
  const asking = useSignal(false);
  const failed = useSignal("");
  const sure = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!asking.value) return;
    sure.current?.focus();
    const timer = setTimeout(() => (asking.value = false), 6000);
    return () => clearTimeout(timer);
  }, [asking.value]);
  const remove = async (): Promise<void> => {
    try {
      await api.remove(study.id);
      studies.value = studies.value.filter((one) => one.id !== study.id);
    } catch (error) {
      failed.value = messageOf(error);
    }
  };
  if (failed.value) return <span class="problem">{failed.value}</span>;
  return asking.value ? (
    <button ref={sure} type="button" class="danger small" onClick={() => void remove()}>
      Delete for good
    </button>
  ) : (
    <button
      type="button"
      class="quiet icon"
      aria-label={`Delete ${study.label}`}
      title="Delete this study"
      onClick={() => (asking.value = true)}
    >
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <path d="M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9" />
      </svg>
    </button>
  );
}

function Exports() {
  const menu = useRef<HTMLDetailsElement>(null);
  const close = (): void => {
    if (menu.current) menu.current.open = false;
  };
  // Left open, it would lie over the studies.
  useEffect(() => {
    const away = (event: PointerEvent): void => {
      if (!menu.current?.contains(event.target as Node)) close();
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, []);
  return (
    <details class="menu" ref={menu} onKeyDown={(event) => event.key === "Escape" && close()}>
      <summary class="button quiet">Export verdicts</summary>
      <div class="menu-body">
        <a href={`${BASE}/verdicts.csv`} download="verdicts.csv" onClick={close}>
          As a table (CSV)
        </a>
        <a href={`${BASE}/dataset.zip`} download="dataset.zip" onClick={close}>
          As a data set (zip)
        </a>
      </div>
    </details>
  );
}
