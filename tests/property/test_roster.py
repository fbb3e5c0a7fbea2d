"""Any mix of conversations over any number of servers that come and go."""

from hypothesis import given
from hypothesis import strategies as st

from voice.engines import prefixes
from voice.engines.prefixes import KEPT, Remembered, shared, texts
from voice.engines.roster import SLACK, Roster
from voice.events import Message, Prompt

SENTENCES = st.text("abcdefgh ", min_size=10, max_size=40)
Talk = tuple[str, ...]


def key(*said: str) -> Talk:
    roles = ("user", "assistant")
    messages = (Message(roles[n % 2], text) for n, text in enumerate(said))  # type: ignore[arg-type]
    return texts(Prompt((Message("system", "Be brief."), *messages)))


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 7), SENTENCES, SENTENCES), max_size=40))
def test_while_all_are_well_and_idle_a_conversation_stays(count: int, turns: list[tuple[int, str, str]]) -> None:
    roster = Roster(count)
    talks: dict[int, list[str]] = {}
    at: dict[int, int] = {}
    for caller, question, reply in turns:
        said = talks.setdefault(caller, [f"{caller}{caller}{caller} is who I am and I ask"])
        wanted = key(*said)
        number = roster.choose(wanted, 0.0)
        assert number is not None
        assert at.setdefault(caller, number) == number
        roster.begin(number, wanted, 0.0)
        roster.end(number)
        said += [reply, question]
    assert all(worker.running == 0 for worker in roster.workers)
    fresh = [number for number in range(count) if number not in at.values()]
    assert len(set(at.values())) == min(count, len(at)) or not fresh


Step = st.tuples(
    st.sampled_from(["begin", "end", "fail", "good", "bad", "time"]), st.integers(0, 4), st.integers(0, 20)
)


@given(st.integers(1, 4), st.lists(Step, max_size=80))
def test_whatever_happens_the_choice_is_fit_and_the_books_are_right(
    count: int, steps: list[tuple[str, int, int]]
) -> None:
    roster, now = Roster(count), 0.0
    running: list[tuple[int, int]] = []
    for step, which, amount in steps:
        match step:
            case "begin":
                wanted = key(f"{'abcde'[which]} is what I would like to know", "Well", f"number {amount}"[: amount % 9])
                number = roster.choose(wanted, now)
                assert number is not None
                there = [other for other in range(count) if not roster.workers[other].gone]
                able = [other for other in there if roster.fit(other, now)] or there or range(count)
                assert number in able
                least = min(roster.workers[other].load for other in able)
                best = max(roster.workers[other].holds.best(wanted) for other in able)
                worker = roster.workers[number]
                assert worker.load <= least + SLACK
                assert worker.load == least or worker.holds.best(wanted) == best > 0
                running.append((number, roster.begin(number, wanted, now)))
                assert roster.choose(wanted, now, tried=set(range(count))) is None
                again = roster.choose(wanted, now, tried={number})
                assert (again is None) == (not set(there) - {number})
            case "end" if running:
                number, ticket = running.pop(which % len(running))
                roster.workers[number].breaker.succeeded(ticket)
                roster.end(number)
            case "fail" if running:
                number, ticket = running.pop(which % len(running))
                roster.workers[number].breaker.failed(ticket, now)
                roster.end(number)
            case "good" | "bad":
                roster.looked(which % count, well=step == "good", requests=amount)
                if step == "good":
                    assert not roster.workers[which % count].gone
            case "time":
                now += amount
        for number, worker in enumerate(roster.workers):
            assert worker.running == sum(other == number for other, _ in running)
            assert worker.others >= 0


@given(st.lists(st.lists(SENTENCES, max_size=4), max_size=30))
def test_what_was_sent_is_found_again(prompts: list[list[str]]) -> None:
    held = Remembered()
    for said in prompts:
        wanted = key(*said)
        held.add(wanted)
        assert held.best(wanted) == shared(wanted, wanted)
        assert held.best(key(*said, "and now?")) >= (shared(wanted, wanted) if said else 1)
        assert held.conversations[-1] == wanted


def test_what_is_remembered_is_bounded(monkeypatch: object) -> None:
    held = Remembered()
    for number in range(KEPT + 10):
        held.add(key(f"{number:05} is my number"))
    assert len(held.conversations) == KEPT
    assert held.conversations[0] == key("00010 is my number")
    held.add(key("x" * prefixes.KEPT_CHARS))
    assert held.conversations == [key("x" * prefixes.KEPT_CHARS)]


def test_a_conversation_that_grows_is_remembered_once() -> None:
    held = Remembered()
    for said in ([], ["I would"], ["I would like"], ["I would like", "Yes?"], ["I would like", "Yes?", "Tea"]):
        held.add(key(*said))
    assert held.conversations == [key("I would like", "Yes?", "Tea")]
