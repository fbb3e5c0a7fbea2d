import assert from "node:assert/strict";
import test from "node:test";

import { JitterBuffer } from "../../static/jitter-buffer.js";

const RATE = 24_000;
const FRAME = 960; // 40 ms, as the server sends

const frame = (value = 0.5, length = FRAME) => new Float32Array(length).fill(value);

function pull(buffer, seconds) {
  const heard = [];
  const out = new Float32Array(60);
  for (let made = 0; made < seconds * RATE; made += out.length) {
    buffer.pull(out);
    heard.push(...out);
  }
  return heard;
}

function filled(frames) {
  const buffer = new JitterBuffer(RATE);
  for (let index = 0; index < frames; index++) buffer.push(1, index * FRAME, frame());
  return buffer;
}

const steepest = (samples) => Math.max(...samples.slice(1).map((sample, index) => Math.abs(sample - samples[index])));

test("sound waits until there is enough of it, then all of it is played, once", () => {
  const buffer = filled(1);
  pull(buffer, 0.02);
  assert.equal(buffer.position.playing, false);
  buffer.push(1, FRAME, frame());
  const heard = pull(buffer, 0.2);
  assert.equal(heard.filter((sample) => sample === 0.5).length, 2 * FRAME - RATE / 100 + 1);
  assert.equal(buffer.played, 2 * FRAME);
});

test("a short answer does not wait for more, once it is known to be all, or after a while", () => {
  const known = filled(1);
  known.finish(1);
  assert.ok(pull(known, 0.02).some((sample) => sample > 0.4));
  const unknown = filled(1);
  assert.ok(pull(unknown, 0.15).some((sample) => sample > 0.4));
});

test("the position is the item's own, to the sample", () => {
  const buffer = filled(5);
  pull(buffer, 0.1);
  assert.deepEqual([buffer.position.item, buffer.position.played], [1, 2_400]);
  buffer.push(2, 0, frame());
  pull(buffer, 0.11);
  assert.deepEqual([buffer.position.item, buffer.position.played], [2, 240]);
});

test("running dry is counted, makes it wait longer the next time, and does not click", () => {
  const buffer = filled(2);
  const before = buffer.target;
  const heard = pull(buffer, 0.2);
  assert.equal(buffer.gaps, 1);
  assert.ok(buffer.target > before);
  assert.ok(steepest(heard) < 0.05);
});

test("the end of an answer is no gap", () => {
  const buffer = filled(5);
  buffer.finish(1);
  pull(buffer, 0.3);
  assert.equal(buffer.gaps, 0);
  assert.equal(buffer.position.playing, false);
});

test("stopping fades within 10 ms, forgets the rest, and the next answer is whole", () => {
  const buffer = filled(10);
  pull(buffer, 0.1);
  buffer.stop();
  const heard = pull(buffer, 0.1);
  assert.ok(heard.slice(RATE / 100 + 1).every((sample) => Math.abs(sample) < 0.02));
  assert.ok(steepest(heard) < 0.05);
  assert.equal(buffer.buffered, 0);
  buffer.push(2, 0, frame());
  buffer.push(2, FRAME, frame());
  pull(buffer, 0.2);
  assert.deepEqual([buffer.position.item, buffer.position.played], [2, 2 * FRAME]);
});

test("softening touches what is held, not what comes after", () => {
  const buffer = filled(4);
  pull(buffer, 0.04);
  buffer.soften(0.2);
  buffer.push(1, 4 * FRAME, frame());
  const heard = pull(buffer, 0.16);
  assert.ok(Math.abs(heard[0.06 * RATE] - 0.1) < 1e-6);
  assert.ok(Math.abs(heard[0.155 * RATE] - 0.5) < 1e-6);
  assert.ok(steepest(heard) < 0.05);
});

test("a held answer that waits is no gap, and goes on at full volume", () => {
  const buffer = filled(4);
  pull(buffer, 0.05);
  buffer.soften(0);
  pull(buffer, 0.5);
  assert.equal(buffer.gaps, 0);
  buffer.soften(1);
  for (let index = 4; index < 8; index++) buffer.push(1, index * FRAME, frame());
  assert.ok(pull(buffer, 0.1).includes(0.5));
});

test("what would be held for more than a minute is left out", () => {
  const buffer = filled(2_000);
  assert.ok(buffer.buffered <= 60 * RATE);
});
