// Caches the page's own files, so that it opens as an app and at once. Never anything of a study: only files of this list.

declare const SHELL_VERSION: string;
declare const SHELL_FILES: string[];

interface Worker extends EventTarget {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
  registration: { scope: string };
}
interface Extendable extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetching extends Extendable {
  request: Request;
  respondWith(answer: Promise<Response>): void;
}

const worker = self as unknown as Worker;
const CACHE = `ichor-shell-${SHELL_VERSION}`;

worker.addEventListener("install", (event) => {
  const filled = caches.open(CACHE).then((cache) => cache.addAll(SHELL_FILES.map((file) => new Request(file, { cache: "no-cache" }))));
  (event as Extendable).waitUntil(filled.then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  const cleared = caches
    .keys()
    .then((names) =>
      Promise.all(names.filter((name) => name.startsWith("ichor-shell-") && name !== CACHE).map((name) => caches.delete(name))),
    );
  (event as Extendable).waitUntil(cleared.then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (event) => {
  const { request } = event as Fetching;
  const address = new URL(request.url);
  if (request.method !== "GET" || address.origin !== location.origin) return;
  const scope = new URL(worker.registration.scope).pathname;
  if (!address.pathname.startsWith(scope)) return;
  const file = address.pathname.slice(scope.length) || "./";
  if (!SHELL_FILES.includes(file)) return; // the API, and with it every study, goes to the server
  const cached = caches.open(CACHE).then((cache) => cache.match(file));
  const hashed = file.startsWith("assets/");
  const fromServer = (): Promise<Response> => fetch(request);
  (event as Fetching).respondWith(
    hashed
      ? cached.then((answer) => answer ?? fromServer())
      : fromServer().catch(async (error: unknown) => {
          const answer = await cached;
          if (answer) return answer;
          throw error;
        }),
  );
});
