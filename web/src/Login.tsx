// The form to log in, where the server asks for it.

import { useSignal } from "@preact/signals";
import { api } from "./api";
import { messageOf } from "./errors";
import { askSession, session } from "./session";

export function Login({ onDone }: { onDone: () => void }) {
  const problem = useSignal("");
  const busy = useSignal(false);
  const methods = session.value?.methods ?? [];
  const byUser = methods.includes("password");
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const entered = (name: string): string | undefined => (form.get(name) as string | null)?.trim() || undefined;
    busy.value = true;
    problem.value = "";
    try {
      await api.login(entered("token") ? { token: entered("token") } : { user: entered("user"), password: entered("password") });
      await askSession();
      onDone();
    } catch (error) {
      problem.value = messageOf(error);
    } finally {
      busy.value = false;
    }
  };
  return (
    <main class="login" id="content">
      <h1>ichor</h1>
      <form onSubmit={(event) => void submit(event)}>
        {byUser && (
          <>
            <label class="field">
              User
              <input name="user" autocomplete="username" autofocus />
            </label>
            <label class="field">
              Password
              <input name="password" type="password" autocomplete="current-password" />
            </label>
          </>
        )}
        {methods.includes("token") && (
          <label class="field">
            {byUser ? "or a token" : "Token"}
            <input name="token" type="password" autocomplete="off" autofocus={!byUser} />
          </label>
        )}
        <button type="submit" class="primary" disabled={busy.value}>
          Log in
        </button>
        <p class="problem" role="alert">
          {problem.value}
        </p>
      </form>
      <p class="soft">Research use, not a medical device.</p>
    </main>
  );
}
