// The login, and the name under which verdicts are stored.

import { effect, signal } from "@preact/signals";
import { api, type Session } from "./api";

export const session = signal<Session | null>(null);
export const reader = signal(localStorage.getItem("ichor.reader") ?? "");

effect(() => localStorage.setItem("ichor.reader", reader.value));

export async function askSession(): Promise<void> {
  session.value = await api.session();
  if (session.value.user) reader.value = session.value.user;
}
