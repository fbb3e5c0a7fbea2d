"""Random conversations in virtual time: interruptions, revisions, faults, hang-ups. Nothing is left behind."""

import os
from collections import Counter
from random import Random

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.virtual import VirtualLoop
from tests.session.scripted import Call, call

CONVERSATIONS = int(os.environ.get("REJOINDER_TEST_CONVERSATIONS", "120"))
WORDS = [
    "yes",
    "uh-huh",
    "tell me more please",
    "wait",
    "you said",
    " ".join(["what is the time in the town today"] * 4),
]

actions = st.lists(
    st.tuples(
        st.sampled_from(
            ["say", "say", "say", "quiet", "quiet", "pause", "cancel", "commit", "clear", "type", "ask", "aside",
             "truncate", "delete", "break_llm", "break_tts", "break_asr", "slow_asr", "mend", "manual", "detect",
             "garbage", "idle", "deaf"]
        ),
        st.integers(0, 11),
    ),
    max_size=25,
)  # fmt: skip


async def act(caller: Call, action: str, number: int) -> None:
    client = caller.client
    items = [item for reply in caller.seen.replies.values() for item in reply.items]
    match action:
        case "say":
            await caller.say(WORDS[number % len(WORDS)])
        case "quiet":
            await caller.quiet(number / 4)
        case "pause":
            await anyio.sleep(number / 4)
        case "cancel":
            await caller.send(client.cancel())
        case "commit":
            await caller.send(client.commit())
        case "clear":
            await caller.send(client.clear())
        case "type":
            await caller.send(client.create_item(f"note {number}"))
        case "ask":
            await caller.send(client.respond(output_modalities=["text" if number % 2 else "audio"]))
        case "aside":
            await caller.send(client.respond(conversation="none"))
        case "truncate" if items:
            await caller.send(client.truncate(items[number % len(items)], number * 300))
        case "delete" if items:
            await caller.send(client.delete(items[number % len(items)]))
        case "break_llm":
            caller.llm.breaks_after = number % 3
        case "break_tts":
            caller.tts.fault = "no voice"
        case "break_asr":
            caller.asr.fault = "no ears"
        case "slow_asr":
            caller.asr.seconds = number / 8  # slower, and the link would take the server for a slow reader
        case "idle":
            detection = {"type": "server_vad", "idle_timeout_ms": 1000 * number}
            await caller.send(client.update(audio={"input": {"turn_detection": detection}}))
        case "deaf":
            detection = {"type": "server_vad", "interrupt_response": bool(number % 2)}
            await caller.send(client.update(audio={"input": {"turn_detection": detection}}))
        case "manual" | "detect":
            detection = None if action == "manual" else {"type": "server_vad"}
            await caller.send(client.update(audio={"input": {"turn_detection": detection}}))
        case "garbage":
            await caller.send("{")
        case _:
            caller.llm.breaks_after, caller.tts.fault, caller.asr.fault, caller.asr.seconds = None, "", "", 0.08


def check(caller: Call, hung_up: bool) -> None:
    """What must hold once it is over; the harness has seen that no engine is busy."""
    counts = Counter(caller.types())
    begun, ended = counts["response.created"], counts["response.done"]
    assert begun == ended or (hung_up and ended < begun)
    books: Counter[str] = Counter()
    for name, amount, labels in caller.tap.calls:
        if name == "audio_seconds_total":
            books[labels["state"]] += round(amount * 16_000)
    assert books["received"] == books["decoded"] + books["gated"] + books["dropped"]
    for reply in caller.seen.replies.values():
        assert reply.status != "in_progress" or hung_up
    for utterance in caller.seen.utterances.values():
        assert utterance.transcript in (None, utterance.text), "what was shown as promised stood, and deltas add up"


@given(actions, st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=CONVERSATIONS, suppress_health_check=[HealthCheck.too_slow])
def test_any_conversation_ends_clean(script: list[tuple[str, int]], hang_up: bool, slips: Random) -> None:
    async def conversation() -> None:
        async with call() as caller:
            await caller.send(caller.client.update(audio={"input": {"transcription": {"model": "rejoinder"}}}))
            caller.asr.slips = slips
            for action, number in script:
                await act(caller, action, number)
            if not hang_up:
                await act(caller, "mend", 0)
                await caller.quiet(20.0)
                await caller.until(
                    lambda: caller.types().count("response.created") == caller.types().count("response.done")
                )
        check(caller, hang_up)

    anyio.run(conversation, backend_options={"loop_factory": VirtualLoop})


@pytest.mark.anyio
async def test_twelve_turns_leave_a_conversation_as_quick_as_it_was() -> None:
    async with call() as caller:
        waits = []
        for n in range(12):
            await caller.say("what is the time")
            silent = anyio.current_time()
            await caller.answered(n + 1)
            waits.append(next(at for at in caller.times("response.output_audio.delta") if at > silent) - silent)
        assert max(waits) - min(waits) < 0.04
