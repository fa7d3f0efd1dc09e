import { signal, useSignal } from "@preact/signals";
import { render } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { About } from "./About";
import { ApiPage } from "./ApiPage";
import { api, whenUnauthorised } from "./api";
import { messageOf } from "./errors";
import { Help } from "./Help";
import { isTyping } from "./keyboard";
import { Login } from "./Login";
import { type Place, place } from "./router";
import { askSession, session } from "./session";
import { Desk } from "./study/desk";
import { StudyPage } from "./study/StudyPage";
import { theme } from "./theme";
import { DropAnywhere } from "./upload/UploadPanel";
import { prefetchViewer } from "./viewer/opening";
import * as feed from "./worklist/live";
import { Worklist } from "./worklist/Worklist";

const locked = signal(false);
const unreachable = signal("");
let started = false;

function start(): void {
  locked.value = false;
  if (!started) feed.start();
  started = true;
  (window.requestIdleCallback ?? setTimeout)(prefetchViewer);
}

async function enter(): Promise<void> {
  try {
    await askSession();
    unreachable.value = "";
    if (session.value?.guarded && !session.value.logged_in) locked.value = true;
    else start();
  } catch (error) {
    unreachable.value = messageOf(error);
    setTimeout(() => void enter(), 3000);
  }
}

whenUnauthorised(() => (locked.value = true));

function App() {
  const help = useSignal(false);
  const desk = useMemo(() => new Desk(), []);
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.key !== "?" || isTyping(event.target) || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      help.value = true;
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
  const at = place.value;
  useEffect(() => {
    document.title = { study: "Study · ichor", about: "About · ichor", api: "API · ichor", worklist: "ichor" }[at.at];
    window.scrollTo(0, 0);
  }, [at.at, at.at === "study" ? at.id : ""]);

  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: a skip link, whose hash the page needs for its own address */}
      <a class="skip" href="#content" onClick={skip}>
        Skip to the content
      </a>
      <header class="bar-top">
        <a class="brand" href="#/">
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <ellipse cx="12" cy="12" rx="8.5" ry="10.2" />
            <path d="M15.5 7.5c2 2.7 3 4.4 3 6a3 3 0 0 1-6 0c0-1.6 1-3.3 3-6z" />
          </svg>
          ichor
        </a>
        <span class="grow notice">Research use, not a medical device</span>
        <a class="button quiet" href="#/about">
          About<span class="hide-small"> the model</span>
        </a>
        <button type="button" class="quiet no-touch" title="Keys (?)" onClick={() => (help.value = true)}>
          Keys
        </button>
        <button type="button" class="quiet" onClick={() => (theme.value = theme.value === "dark" ? "light" : "dark")}>
          {theme.value === "dark" ? "Light" : "Dark"}
        </button>
        {session.value?.guarded && session.value.logged_in && (
          <button type="button" class="quiet" onClick={() => void api.logout().then(() => location.reload())}>
            Log out
          </button>
        )}
      </header>
      {unreachable.value ? (
        <main class="alone" id="content">
          <p class="problem" role="alert">
            {unreachable.value}
          </p>
          <p class="soft">This page tries again by itself.</p>
        </main>
      ) : locked.value ? (
        <Login onDone={start} />
      ) : session.value === null ? (
        <main id="content" />
      ) : (
        <Content at={at} desk={desk} />
      )}
      {!locked.value && <DropAnywhere />}
      {help.value && <Help onClose={() => (help.value = false)} />}
    </>
  );
}

function Content({ at, desk }: { at: Place; desk: Desk }) {
  switch (at.at) {
    case "study":
      return <StudyPage key={at.id} id={at.id} prior={at.prior} desk={desk} />;
    case "about":
      return <About />;
    case "api":
      return <ApiPage />;
    case "worklist":
      return <Worklist />;
  }
}

/** The hash is the page's own address; the link only moves the focus. */
function skip(event: Event): void {
  event.preventDefault();
  const content = document.getElementById("content");
  content?.setAttribute("tabindex", "-1");
  content?.focus();
}

render(<App />, document.getElementById("app")!);
void enter();

if ("serviceWorker" in navigator && window.isSecureContext) {
  void navigator.serviceWorker.register("sw.js").catch(() => {}); // without it the page works, only not as an app
}
