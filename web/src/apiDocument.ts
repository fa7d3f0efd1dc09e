// The parts of the server's OpenAPI document that the page of the API shows, and types in words.

export interface Schema {
  $ref?: string;
  type?: string;
  format?: string;
  description?: string;
  enum?: (string | number)[];
  const?: string | number | boolean;
  items?: Schema;
  anyOf?: Schema[];
  allOf?: Schema[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  required?: string[];
}

type Content = Record<string, { schema?: Schema }>;

export interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

export interface Operation {
  operationId: string;
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: { content: Content };
  responses: Record<string, { description?: string; content?: Content }>;
}

export interface ApiDocument {
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
}

export interface Entry {
  method: string;
  path: string;
  operation: Operation;
}

/** Operations by their tag, in the document's order. */
export function byTag({ paths }: ApiDocument): Map<string, Entry[]> {
  const found = new Map<string, Entry[]>();
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags?.[0] ?? "other";
      found.set(tag, [...(found.get(tag) ?? []), { method: method.toUpperCase(), path, operation }]);
    }
  }
  return found;
}

export function refName(ref: string): string {
  return ref.slice(ref.lastIndexOf("/") + 1);
}

/** A type in words: `list of Study`, `text (binary) or null`, `"agree" or "disagree"`. */
export function typeWords(schema: Schema | undefined): string {
  if (!schema) return "anything";
  if (schema.$ref) return refName(schema.$ref);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const several = schema.anyOf ?? schema.allOf;
  if (several) return [...new Set(several.map(typeWords))].join(schema.anyOf ? " or " : " and ");
  if (schema.type === "array") return `list of ${typeWords(schema.items)}`;
  if (schema.type === "object") {
    return typeof schema.additionalProperties === "object" ? `object of ${typeWords(schema.additionalProperties)}` : "object";
  }
  const name = schema.type === "string" ? "text" : (schema.type ?? "anything");
  return schema.format ? `${name} (${schema.format})` : name;
}
