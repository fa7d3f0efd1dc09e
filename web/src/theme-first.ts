// Runs before anything is drawn, so that a light page never flashes in a dark room.
const stored = localStorage.getItem("ichor.theme");
document.documentElement.dataset["theme"] = stored === "light" ? "light" : "dark";

export {};
