import assert from "node:assert/strict";
import test from "node:test";

import { Resampler } from "../../static/resampler.js";

const tone = (rate, hertz, seconds) =>
  Float32Array.from({ length: rate * seconds }, (_, index) => Math.sin((2 * Math.PI * hertz * index) / rate));
const power = (samples) => samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;

function converted(input, from, to, piece) {
  const resampler = new Resampler(from, to);
  const made = [];
  for (let at = 0; at < input.length; at += piece) made.push(...resampler.push(input.subarray(at, at + piece)));
  return Float32Array.from(made);
}

for (const [from, to] of [
  [48_000, 24_000],
  [44_100, 24_000],
  [16_000, 24_000],
  [96_000, 24_000],
  [24_000, 48_000],
  [24_000, 44_100],
]) {
  test(`${from} Hz to ${to} Hz keeps a tone, its place and its length`, () => {
    const made = converted(tone(from, 1_000, 1), from, to, 128);
    const wanted = tone(to, 1_000, 1);
    assert.ok(made.length <= to && made.length > to * 0.99, `${made.length} samples`);
    const edge = Math.ceil(to / 200);
    let worst = 0;
    for (let at = edge; at < made.length - edge; at++) worst = Math.max(worst, Math.abs(made[at] - wanted[at]));
    assert.ok(worst < 2e-3, `off by ${worst}`);
  });
}

test("what the lower rate cannot hold is gone instead of folded back", () => {
  for (const hertz of [12_500, 14_000, 18_000, 23_000]) {
    const made = converted(tone(48_000, hertz, 0.5), 48_000, 24_000, 128);
    const decibels = 10 * Math.log10(power(made.subarray(200)) / 0.5);
    assert.ok(decibels < -70, `${hertz} Hz at ${decibels} dB`);
  }
});

test("the sizes of the pieces do not matter", () => {
  const input = Float32Array.from({ length: 10_000 }, (_, index) => ((index * 7919) % 997) / 997 - 0.5);
  const whole = converted(input, 44_100, 24_000, input.length);
  for (const piece of [1, 37, 128, 4_097]) assert.deepEqual(converted(input, 44_100, 24_000, piece), whole);
});
