// Runs before anything is drawn, so that a light page never flashes in a dark room.
const kept = localStorage.getItem("ichor.theme");
document.documentElement.dataset["theme"] = kept === "light" ? "light" : "dark";
export {};
