"""What holds of every answer, however it arrives."""

import re

from hypothesis import given
from hypothesis import strategies as st

from voice.chunker import Chunker

PLAIN = st.text(alphabet="abcdefgh", min_size=1, max_size=12)
NUMBERS = st.sampled_from(["3.5", "1,000", "10:30", "Dr.", "e.g.", "U.S.", "J.", "well...", "a-b", "it's", "50%"])
PUNCTUATED = st.builds(str.__add__, PLAIN, st.sampled_from(["", "", "", "", ",", ".", "!", "?", ";", ":"]))
WORDS = st.lists(st.one_of(PUNCTUATED, NUMBERS), max_size=120)
SEPARATORS = st.sampled_from([" ", " ", " ", " ", "  ", "\n", "\n\n"])
MARKDOWN = st.text(alphabet="ab1 .,:|*_`~#-<>[]()!\\/&;\n\t\"'3😀…", max_size=300)
SNIPPETS = st.sampled_from(
    [
        "**bold** ",
        "# head\n",
        "- item\n",
        "```py\nx=1\n```\n",
        "[a b](http://c.d/e) ",
        "<b>x</b> ",
        "| a | b |\n",
        "word. ",
    ]
)
ANSWERS = st.one_of(MARKDOWN, st.text(max_size=200), st.lists(SNIPPETS, max_size=30).map("".join))
ENDLESS = st.lists(st.text(alphabet="abcdefgh", min_size=6, max_size=12), min_size=40, max_size=60).map(" ".join)
MARKUP = re.compile(r"[*`\[\]|]|~~|</?[a-z]+>|^#+ |https?://")


def clauses(deltas: list[str]) -> list[str]:
    chunker = Chunker()
    ready = [clause for delta in deltas for clause in chunker.push(delta)]
    return ready + chunker.finish()


@st.composite
def cut_answers(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(ANSWERS)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return text, [text[first:last] for first, last in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(cut_answers())
def test_clauses_do_not_depend_on_the_deltas(answer: tuple[str, list[str]]) -> None:
    text, deltas = answer
    assert clauses(deltas) == clauses([text]) == clauses(list(text))


@given(WORDS, st.data())
def test_plain_words_are_spoken_once_and_in_order(words: list[str], data: st.DataObject) -> None:
    text = "".join(word + data.draw(SEPARATORS) for word in words)
    assert " ".join(clauses([text])).split() == words


@given(st.one_of(ANSWERS, ENDLESS))
def test_clauses_are_bounded_and_sayable(text: str) -> None:
    for index, clause in enumerate(clauses([text])):
        assert 0 < len(clause) <= (100 if index < 2 else 200)
        assert any(character.isalnum() for character in clause)
        assert clause == " ".join(clause.split())


@given(ANSWERS)
def test_no_markup_is_spoken(text: str) -> None:
    assert not [clause for clause in clauses([text]) if MARKUP.search(clause)]


@given(WORDS)
def test_first_clause_is_short(words: list[str]) -> None:
    for first in clauses([" ".join(words)])[:1]:
        assert len(first.split()) <= 7
