import assert from "node:assert/strict";
import test from "node:test";

import { figures, scale, turn } from "../../static/waterfall.js";

const timeline = (total, drafts = []) => ({
  marks_ms: { pause_detected: 160, voice_to_voice: total },
  spans_ms: [
    { name: "pause_detected", ms: 160 },
    { name: "voice_to_voice", ms: total - 160 },
  ],
  drafts,
});

test("each bar begins where the one before ends, and the last at the first sound", () => {
  const { total, bars } = turn(timeline(700));
  assert.deepEqual(bars.map(({ start, length }) => [start, length]), [[0, 160], [160, 540]]);
  assert.equal(bars.at(-1).start + bars.at(-1).length, total);
});

test("the scale holds the turn in a few round steps", () => {
  for (const ms of [0, 1, 49, 160, 742, 1_999, 34_567, 250_000]) {
    const { end, steps } = scale(ms);
    assert.ok(end >= ms);
    assert.equal(steps.at(-1), end);
    if (ms < 50_000) assert.ok(steps.length <= 6);
  }
});

test("figures: medians, and what became of the drafts", () => {
  const hit = { outcome: "hit", saved_ms: 300 };
  const turns = [timeline(500, [hit]), timeline(900), timeline(600, [hit, { outcome: "resumed", saved_ms: 0 }])].map(turn);
  assert.deepEqual(figures(turns), { turns: 3, median: 600, best: 500, drafts: 3, kept: 2, saved: 300 });
  assert.equal(figures([]).median, undefined);
});
