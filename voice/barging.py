"""A caller's voice over an answer: the answer is made softer at once, and then goes on, waits or ends. Part of
`voice.dialog`; pure. What the voice means is judged by `voice.interruption`."""

from dataclasses import replace

from voice import replies
from voice.commands import Command, Duck, Hold, Ignored, Meaning, Opened, Resume
from voice.interruption import PAUSE, Interjection, Verdict, due, echoes, verdict
from voice.speakable import ends_sentence
from voice.state import Interjected, Mode, State, Step, Utterance

EARLY = 0.4
"""Seconds; a caller who speaks when no more of the answer has sounded goes on with what the answer is to."""
BEFORE, AHEAD = 2.5, 0.3
"""Seconds before what sounded as the voice began, and after what sounds now, of which the words may come back as an
echo."""
SAID_SINCE = 2
"""Words of the next sentence after which a question is no longer the last thing that was said."""
HASTE = 0.12
"""Seconds that a word takes at least; more words than that were not said, but are left over from an echo."""
PATIENCE = 2.0
"""Seconds of silence after which words that are not known yet no longer matter."""

_MODES: dict[Verdict, Mode | None] = {
    Verdict.WAIT: "ducked",
    Verdict.HOLD: "held",
    Verdict.RESTORE: "restored",
    Verdict.CUT: None,
}


def undecided(state: State) -> bool:
    """Whether a voice that begins now may be something else than an interruption of the reply."""
    reply = state.reply
    return reply is not None and not reply.gated and bool(reply.words) and reply.played > EARLY


def duck(state: State) -> Step:
    """The open utterance has begun over the reply."""
    assert state.reply is not None
    assert state.utterance is not None
    turn = state.reply.turn
    speech = replace(state.utterance, over=Interjected(turn, state.reply.item_id))
    return replace(state, utterance=speech), (Duck(turn),)


def deadline(state: State) -> float | None:
    """When the verdict changes by time alone, stream seconds."""
    speech, said = _interjection(state)
    at = due(said)
    if speech.speaking:
        return None if at is None else speech.began + at
    last = PAUSE if said.final else PATIENCE
    return speech.stopped + (last if at is None else min(at, last))


def judge(state: State) -> Step:
    """What the voice means, by what is known now."""
    speech, said = _interjection(state)
    assert speech.over is not None
    turn = speech.over.turn
    sounding = state.reply is not None and state.reply.turn == turn
    mode = _MODES[verdict(said)]
    if mode is None:
        return settle(state)
    if mode == "ducked" and speech.over.mode == "held" and said.text and not said.sure:
        mode = "held"  # a guess is no reason to go on while the caller speaks
    commands = _change(turn, speech.over.mode, mode) if sounding else ()
    if mode == "restored" and not speech.speaking and said.silent >= (PAUSE if said.final else PATIENCE):
        state = replace(state.silent(), utterance=None, utterances=state.utterances + 1)
        return state, (*commands, Ignored(_meaning(said)))
    return replace(state, utterance=replace(speech, over=replace(speech.over, mode=mode))), commands


def _change(turn: int, before: Mode, mode: Mode) -> tuple[Command, ...]:
    """What makes a reply in one mode one in another."""
    if before == mode:
        return ()
    match mode:
        case "ducked":
            return (Resume(turn), Duck(turn)) if before == "held" else (Duck(turn),)
        case "held":
            return (Hold(turn),)
        case "restored":
            return (Resume(turn),)


def settle(state: State) -> Step:
    """The open utterance is an interruption, if that was in doubt: the reply ends, and the caller's turn begins."""
    speech = state.utterance
    if speech is None or speech.over is None:
        return state, ()
    state = replace(state, utterance=replace(speech, over=None))
    opened = Opened(speech.item_id, speech.began)
    if state.reply is None or state.reply.turn != speech.over.turn:
        return state, (opened,)
    fade = () if speech.over.mode == "held" else (Hold(state.reply.turn),)
    state, cut = replies.cut(state, "turn_detected")
    return state, (*fade, opened, *cut)


def forget(state: State) -> Step:
    """The client takes the open utterance back: the reply goes on."""
    speech = state.utterance
    if speech is None or speech.over is None or speech.over.mode == "restored":
        return state, ()
    sounding = state.reply is not None and state.reply.turn == speech.over.turn
    return state, (Resume(speech.over.turn),) if sounding else ()


def _interjection(state: State) -> tuple[Utterance, Interjection]:
    """The open utterance, and the evidence for what it means."""
    speech, reply = state.utterance, state.reply
    assert speech is not None
    assert speech.over is not None
    answer = replies.answer(state, speech.over.item_id)
    words = answer.words if answer else ()
    played = reply.played if reply and reply.turn == speech.over.turn else max((word.end for word in words), default=0)
    first = played - max(0.0, state.now - speech.began) - BEFORE
    near = [word.text for word in words if first <= word.end and word.start <= played + AHEAD]
    voiced = (max(state.now, speech.began) if speech.speaking else speech.stopped) - speech.began
    text = speech.text if speech.final is None else speech.final
    return speech, Interjection(
        voiced=voiced,
        speaking=speech.speaking,
        silent=0.0 if speech.speaking else max(0.0, state.now - speech.stopped),
        looked=max(0.0, speech.looked - speech.began),
        text=text if len(text.split()) <= 1 + voiced / HASTE else "",
        sure=speech.sure,
        final=speech.final is not None,
        asked=_asked([word.text for word in words], sum(word.start <= played for word in words)),
        sounding=" ".join(near),
        language=speech.language or "en",
    )


def _asked(words: list[str], begun: int) -> bool:
    """Whether the sentence is a question that the newest of the words begun belongs to, or has just followed."""
    for at in range(max(0, begun - 1 - SAID_SINCE), len(words)):
        if ends_sentence(words[at]):
            if words[at].rstrip("\"'”’)").endswith("?"):
                return True
            if at >= begun - 1:
                return False
    return False


def _meaning(said: Interjection) -> Meaning:
    if not said.text:
        return "noise"
    return "echo" if echoes(said.text, said.sounding) else "backchannel"
