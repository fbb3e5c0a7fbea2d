import assert from "node:assert/strict";
import test from "node:test";

import { Failure } from "../../static/failures.js";

test("each way a call can end is told in words, with what to do", () => {
  for (const [code, reason, kind] of [
    [1006, "", "lost"],
    [1012, "the server restarts; connect again", "restart"],
    [1013, "the server is full; try again in 5 s", "busy"],
    [1013, "the server is draining; try again in 30 s", "restart"],
    [1013, "nothing was read for 2 s; read faster or ask for less", "slow"],
    [1013, "this key has 1 calls already, and may have no more; try again in 5 s", "limit"],
    [1000, "nothing was sent for too long", "ended"],
    [1011, "the session failed", "broken"],
  ]) {
    const failure = Failure.closed(code, reason);
    assert.equal(failure.kind, kind);
    assert.ok(failure.words.title && failure.words.advice);
  }
  assert.match(Failure.closed(1000, "nothing was sent for too long").words.advice, /^Nothing was sent for too long\. /);
});

test("a refusal over HTTP tells its reason by its status", async () => {
  const kind = async (status, body = {}) => (await Failure.refused(Response.json(body, { status }), "broken")).kind;
  assert.equal(await kind(401), "key");
  assert.equal(await kind(403), "origin");
  assert.equal(await kind(503, { status: "draining" }), "restart");
  assert.equal(await kind(503, { status: "loading" }), "loading");
  assert.equal(await kind(503), "busy");
  assert.equal(await kind(429, { error: { message: "this key has no minutes left" } }), "limit");
  assert.equal(await kind(500), "broken");
});

test("a microphone that is refused, absent or taken", () => {
  for (const [name, kind] of [["NotAllowedError", "denied"], ["NotFoundError", "missing"], ["NotReadableError", "taken"]]) {
    assert.equal(Failure.microphone(Object.assign(new Error(), { name })).kind, kind);
  }
});
