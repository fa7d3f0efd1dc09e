// The API, read from the server's own OpenAPI document: nothing of it is fetched from elsewhere.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ask, BASE } from "./api";
import { type ApiDocument, byTag, type Entry, refName, type Schema, typeWords } from "./apiDocument";
import { messageOf } from "./errors";

export function ApiPage() {
  const document = useSignal<ApiDocument | null>(null);
  const problem = useSignal("");
  useEffect(() => {
    ask("/openapi.json")
      .then((answer) => answer.json() as Promise<ApiDocument>)
      .then(
        (found) => {
          document.value = found;
        },
        (error: unknown) => {
          problem.value = messageOf(error);
        },
      );
  }, []);
  const found = document.value;
  return (
    <main class="about api" id="content">
      <p>
        <a class="button quiet" href="#/about">
          ← About
        </a>
      </p>
      <h1>The API</h1>
      {problem.value && (
        <p class="problem" role="alert">
          {problem.value}
        </p>
      )}
      {found && (
        <>
          {(found.info.description ?? "").split("\n\n").map((text) => (
            <p key={text}>{plain(text)}</p>
          ))}
          <p class="soft">
            Version {found.info.version}. For programs: <a href={`${BASE}/openapi.json`}>openapi.json</a>
          </p>
          {[...byTag(found)].map(([tag, entries]) => (
            <section key={tag} aria-labelledby={`tag-${tag}`}>
              <h2 id={`tag-${tag}`}>{tag.charAt(0).toUpperCase() + tag.slice(1)}</h2>
              {entries.map((entry) => (
                <OperationDetails key={`${entry.method} ${entry.path}`} entry={entry} />
              ))}
            </section>
          ))}
          <section aria-labelledby="forms">
            <h2 id="forms">Forms</h2>
            {Object.entries(found.components?.schemas ?? {}).map(([name, schema]) => (
              <details key={name} class="operation" id={`form-${name}`}>
                <summary>
                  <code>{name}</code>
                </summary>
                {schema.description && <p>{plain(schema.description)}</p>}
                <Fields schema={schema} />
              </details>
            ))}
          </section>
        </>
      )}
    </main>
  );
}

function OperationDetails({ entry: { method, path, operation } }: { entry: Entry }) {
  const { description, parameters = [], requestBody, responses } = operation;
  return (
    <details class="operation">
      <summary>
        <b class="method">{method}</b> <code>{path}</code>
        <span class="soft under">{plain((description ?? operation.summary ?? "").split("\n\n")[0] ?? "")}</span>
      </summary>
      {(description ?? "")
        .split("\n\n")
        .slice(1)
        .map((text) => (
          <p key={text}>{plain(text)}</p>
        ))}
      {parameters.length > 0 && (
        <Rows
          head={["Parameter", "Type", "Meaning"]}
          rows={parameters.map((one) => [
            `${one.name} (${one.in}${one.required ? ", needed" : ""})`,
            typeWords(one.schema),
            one.description ?? "",
          ])}
        />
      )}
      {requestBody && (
        <Rows
          head={["Body", "Form"]}
          rows={Object.entries(requestBody.content).map(([kind, { schema }]) => [kind, typeWords(schema)])}
          link={1}
        />
      )}
      <Rows
        head={["Answer", "Meaning", "Form"]}
        rows={Object.entries(responses).map(([status, { description: meaning, content }]) => [
          status,
          meaning ?? "",
          Object.entries(content ?? {})
            .map(([kind, { schema }]) => (kind === "application/json" ? typeWords(schema) : kind))
            .join(", "),
        ])}
        link={2}
      />
    </details>
  );
}

function Fields({ schema }: { schema: Schema }) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => [
    schema.required?.includes(name) ? name : `${name} (may be absent)`,
    typeWords(field),
    field.description ?? "",
  ]);
  return rows.length ? <Rows head={["Field", "Type", "Meaning"]} rows={rows} link={1} /> : <p>{typeWords(schema)}</p>;
}

interface RowsProps {
  head: readonly string[];
  rows: readonly (readonly string[])[];
  /** Column whose words may be the name of a form. */
  link?: number;
}

function Rows({ head, rows, link }: RowsProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table scrolls in itself, with the keys too
    <div class="scroll" tabIndex={0} role="group" aria-label={head.join(", ")}>
      <table>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row[0]}>
              {row.map((cell, i) => (
                <td key={head[i]}>{i === link ? <FormLink words={cell} /> : plain(cell)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Opens the form that a type names; its place is not an address, as the hash is the page's own. */
function FormLink({ words }: { words: string }) {
  const name = /[A-Z]\w+/.exec(words)?.[0];
  const open = (): void => {
    const form = document.getElementById(`form-${refName(name ?? "")}`);
    if (!(form instanceof HTMLDetailsElement)) return;
    form.open = true;
    form.scrollIntoView();
    form.querySelector("summary")?.focus();
  };
  if (!name) return <span>{words}</span>;
  return (
    <button type="button" class="quiet small" onClick={open}>
      {words}
    </button>
  );
}

/** Without the marks of Markdown. */
function plain(text: string): string {
  return text.replaceAll("`", "").replaceAll("\n", " ");
}
