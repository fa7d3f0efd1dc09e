// The page of the API: types of the OpenAPI document in words.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type ApiDocument, byTag, typeWords } from "../src/apiDocument";

test("types are said in words", () => {
  assert.equal(
    typeWords({ anyOf: [{ type: "array", items: { $ref: "#/components/schemas/Study" } }, { type: "null" }] }),
    "list of Study or null",
  );
  assert.equal(typeWords({ type: "string", format: "binary" }), "text (binary)");
  assert.equal(typeWords({ enum: ["agree", "disagree"] }), '"agree" or "disagree"');
  assert.equal(typeWords({ type: "object", additionalProperties: { type: "number" } }), "object of number");
});

test("operations stand under their tag", () => {
  const operation = { operationId: "a", tags: ["studies"], responses: {} };
  const document: ApiDocument = { info: { title: "", version: "" }, paths: { "/a": { get: operation, post: { ...operation, tags: [] } } } };
  const found = byTag(document);
  assert.deepEqual([...found.keys()], ["studies", "other"]);
  assert.equal(found.get("studies")?.[0]?.method, "GET");
});
