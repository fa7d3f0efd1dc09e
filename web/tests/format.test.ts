// Numbers in words, as the written report has them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { apart, bytes, count, duration, probability, ranges, volume } from "../src/format";
import words from "./fixtures/words.json";

test("probabilities are written as in the report", () => {
  for (const [value, text] of words.probability as [number, string][]) assert.equal(probability(value), text, `${value}`);
  for (const [value, other, text] of words.apart as [number, number, string][])
    assert.equal(apart(value, other), text, `${value}, ${other}`);
  assert.equal(probability(null), "–");
});

test("volumes and ranges of slices are written as in the report", () => {
  for (const [ml, text] of words.volume as [number, string][]) assert.equal(volume(ml), text);
  for (const [indices, text] of words.ranges as [number[], string][]) assert.equal(ranges(indices), text.replaceAll("-", "–"));
});

test("durations", () => {
  const cases: [number, string][] = [
    [0.04, "<0.1 s"],
    [9.94, "9.9 s"],
    [9.96, "10 s"],
    [60, "1 min 0 s"],
    [90061, "1 d"],
  ];
  for (const [seconds, text] of cases) assert.equal(duration(seconds), text, `${seconds}`);
  assert.equal(duration(null), "–");
});

test("sizes and counts", () => {
  assert.deepEqual([bytes(10), bytes(4.2e6), bytes(73e6), bytes(2.5e9)], ["1 kB", "4.2 MB", "73 MB", "2.5 GB"]);
  assert.deepEqual([count(1, "slice"), count(1200, "study", "studies")], ["1 slice", "1,200 studies"]);
});
