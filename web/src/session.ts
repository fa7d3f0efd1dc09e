// Who is asking, and under which name verdicts are kept.

import { effect, signal } from "@preact/signals";
import { type Session, api } from "./api";

export const session = signal<Session | null>(null);
export const reader = signal(localStorage.getItem("ichor.reader") ?? "");

effect(() => localStorage.setItem("ichor.reader", reader.value));

export async function askSession(): Promise<void> {
  session.value = await api.session();
  if (session.value.user) reader.value = session.value.user;
}
