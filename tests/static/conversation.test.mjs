import assert from "node:assert/strict";
import test from "node:test";

import { Conversation } from "../../static/conversation.js";

const place = () => 0;

function told(...events) {
  const conversation = new Conversation();
  for (const event of events) conversation.apply(event, place);
  return conversation;
}

const items = (conversation) => [...conversation.items.values()];

test("certain words only grow, tentative ones are replaced, and the end is the server's", () => {
  const conversation = told(
    { type: "input_audio_buffer.speech_started", item_id: "a" },
    { type: "rejoinder.transcript.tentative", item_id: "a", text: "and so my fell" },
    { type: "conversation.item.input_audio_transcription.delta", item_id: "a", delta: "And so" },
    { type: "rejoinder.transcript.tentative", item_id: "a", text: "my fellow" },
  );
  const [item] = items(conversation);
  assert.deepEqual([item.text, item.tentative, item.over], ["And so", "my fellow", false]);
  const type = "conversation.item.input_audio_transcription.completed";
  conversation.apply({ type, item_id: "a", transcript: "And so, my fellow." }, place);
  assert.deepEqual([item.text, item.tentative, item.over], ["And so, my fellow.", "", true]);
});

test("speech that came to nothing leaves nothing", () => {
  const started = { type: "input_audio_buffer.speech_started", item_id: "a" };
  assert.equal(items(told(started, { type: "input_audio_buffer.cleared" })).length, 0);
  const type = "conversation.item.input_audio_transcription.completed";
  assert.equal(items(told(started, { type, item_id: "a", transcript: " " })).length, 0);
});

test("the words of an answer light up as they sound", () => {
  const conversation = new Conversation();
  const type = "response.output_audio_transcript.delta";
  conversation.apply({ type, item_id: "b", delta: "Hello there. " }, () => 0);
  conversation.apply({ type, item_id: "b", delta: "Good day." }, () => 1_000);
  const [item] = items(conversation);
  const shown = (ms) => (conversation.played({ itemId: "b", ms, playing: true }), item.text.slice(0, item.lit));
  assert.equal(shown(0), "");
  assert.equal(shown(100), "Hello");
  assert.equal(shown(1_000), "Hello there. ");
  assert.equal(shown(500), "Hello there. ", "what has sounded has sounded");
  conversation.apply({ type: "response.done", response: { status: "completed", output: [{ id: "b" }] } }, place);
  conversation.played({ itemId: "b", ms: 2_000, playing: false });
  assert.equal(item.lit, item.text.length);
});

test("a cut answer keeps what was heard, and says so", () => {
  const conversation = told(
    { type: "response.output_audio_transcript.delta", item_id: "b", delta: "One two three four. " },
    { type: "response.output_audio_transcript.done", item_id: "b", transcript: "One two" },
    { type: "response.done", response: { status: "cancelled", output: [{ id: "b" }] } },
  );
  const [item] = items(conversation);
  assert.deepEqual([item.text, item.cut, item.lit], ["One two", true, 7]);
});

test("after a break the next session is told what was said, under the same names", () => {
  const conversation = told(
    { type: "conversation.item.added", item: { id: "a", type: "message", role: "user", content: [{ type: "input_text", text: "Hi" }] } },
    { type: "response.output_audio_transcript.delta", item_id: "b", delta: "Hello" },
    { type: "input_audio_buffer.speech_started", item_id: "c" },
  );
  conversation.broken();
  const replayed = conversation.replay();
  assert.deepEqual(replayed.map(({ item }) => [item.id, item.role, item.content[0].type, item.content[0].text]), [
    ["a", "user", "input_text", "Hi"],
    ["b", "assistant", "output_text", "Hello"],
  ]);
  for (const { item } of replayed) conversation.apply({ type: "conversation.item.added", item }, place);
  assert.equal(items(conversation).length, 2);
});
