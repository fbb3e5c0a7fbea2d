"""What stays in a conversation, and what of it the model reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice import history
from voice.history import Item

texts = st.text(alphabet="abcdefg äß", max_size=400)
items = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), texts), max_size=40).map(
    lambda said: tuple(Item(f"i{n}", role=role, text=text) for n, (role, text) in enumerate(said))
)


@given(items, st.integers(100, 4000), st.integers(1, 200))
def test_a_prompt_holds_the_newest_that_fit(said: history.Items, budget: int, answer: int) -> None:
    prompt = history.prompt(said, "Be brief.", budget=budget, max_tokens=answer, temperature=0)
    assert prompt.messages[0].text == "Be brief."
    kept = [message.text for message in prompt.messages[1:]]
    spoken = [item.text for item in said if item.text]
    if not spoken:
        assert kept == [history.OPENING]
        return
    assert kept == spoken[len(spoken) - len(kept) :], "the newest, in order, without a hole"
    size = sum(len(text.encode()) / 3 for text in kept)
    assert size <= budget - answer or len(kept) == 1


@given(items, st.integers(0, 50))
def test_inserting_and_removing_keeps_the_others_in_order(said: history.Items, place: int) -> None:
    after = said[place % len(said)].id if said else "root"
    grown = history.insert(said, Item("new"), after)
    assert history.before(grown, "new") == (after if said else None)
    assert history.remove(grown, "new") == said
    with pytest.raises(ValueError, match="another id"):
        history.insert(grown, Item("new"))


def test_an_output_without_its_call_is_not_shown_to_the_model() -> None:
    call = Item("c", "function_call", text="{}" * 300, call_id="c", name="f")
    output = Item("o", "function_call_output", text="sun", call_id="c")
    question = Item("q", text="and tomorrow?")
    prompt = history.prompt((call, output, question), "", budget=150, max_tokens=20, temperature=0)
    assert [message.role for message in prompt.messages] == ["user"]
