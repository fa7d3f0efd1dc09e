// Numbers in words, as the written report has them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { apart, bytes, count, duration, limit, probability, ranges, volume } from "../src/format";
import words from "./fixtures/words.json";

/** The report's text, unless it stands at the edge, where the page has one more decimal. */
const inside = (text: string): boolean => !/[<>]/.test(text);

test("probabilities are written as in the report", () => {
  const single = (words.probability as [number, string][]).filter(([, text]) => inside(text));
  const pairs = (words.apart as [number, number, string][]).filter(([, , text]) => inside(text));
  assert.ok(single.length > 3 && pairs.length > 1);
  for (const [value, text] of single) assert.equal(probability(value), text, `${value}`);
  for (const [value, other, text] of pairs) assert.equal(apart(value, other), text, `${value}, ${other}`);
  assert.equal(probability(null), "–");
});

test("at the edge a probability has one more decimal, and is never certain", () => {
  const cases: [number, string][] = [
    [0, "<0.001"],
    [0.0004, "<0.001"],
    [0.0021, "0.002"],
    [0.00499, "0.005"],
    [0.9962, "0.996"],
    [0.9994, "0.999"],
    [0.9996, ">0.999"],
    [1, ">0.999"],
  ];
  for (const [value, text] of cases) assert.equal(probability(value), text, `${value}`);
  assert.equal(apart(0.9991, 0.9987), "0.9991");
  assert.equal(apart(0.99999, 0.27), ">0.999");
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
    [59.4, "59 s"],
    [59.7, "1 min 0 s"],
    [119.7, "2 min 0 s"],
    [3599.6, "1 h 0 min"],
    [7199, "2 h 0 min"],
    [86399, "1 d"],
    [90061, "1 d"],
  ];
  for (const [seconds, text] of cases) assert.equal(duration(seconds), text, `${seconds}`);
  assert.equal(duration(null), "–");
});

test("sizes and counts", () => {
  assert.deepEqual([bytes(10), bytes(4.2e6), bytes(73e6), bytes(2.5e9)], ["1 kB", "4.2 MB", "73 MB", "2.5 GB"]);
  assert.deepEqual([count(1, "slice"), count(1200, "study", "studies")], ["1 slice", "1,200 studies"]);
});

test("a threshold is a number, also where it lies at the edge", () => {
  assert.equal(limit(0.9997, 0.2), "0.9997");
  assert.equal(limit(0.27, 0.2), "0.27");
});
