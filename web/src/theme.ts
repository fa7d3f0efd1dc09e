import { effect, signal } from "@preact/signals";

export const theme = signal<"dark" | "light">(document.documentElement.dataset["theme"] === "light" ? "light" : "dark");

effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
  localStorage.setItem("ichor.theme", theme.value);
  const colour = theme.value === "dark" ? "#0e1114" : "#f4f5f7";
  document.querySelector('meta[name="theme-color"]')?.setAttribute("content", colour);
});
