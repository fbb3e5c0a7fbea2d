"""What is spoken of an answer, and where it is cut."""

import pytest

from voice.chunker import Chunker
from voice.speakable import ends_sentence


def clauses(text: str) -> list[str]:
    chunker = Chunker()
    return chunker.push(text) + chunker.finish()


def spoken(text: str) -> str:
    return " ".join(clauses(text))


def test_first_clause_ends_at_the_first_punctuation_after_three_words() -> None:
    chunker = Chunker()
    assert chunker.push("Well, that is a good idea, because") == ["Well, that is a good idea,"]


def test_first_clause_without_punctuation_ends_with_a_phrase() -> None:
    assert clauses("I would like to talk about the weather in London today.") == [
        "I would like to talk",
        "about the weather in London today.",
    ]


def test_tiny_first_sentence_is_spoken_at_once_and_the_next_clause_is_short_too() -> None:
    assert clauses("Of course! Please check that your order works. I will wait.") == [
        "Of course!",
        "Please check that your order works.",
        "I will wait.",
    ]
    assert clauses("OK, well, sure. Yes.") == ["OK, well, sure.", "Yes."]


def test_first_clause_never_waits_for_an_eighth_word() -> None:
    assert Chunker().push("one two three four five six seven ") == ["one two three four five six seven"]


def test_later_clauses_are_whole_sentences_and_tiny_ones_join() -> None:
    assert clauses("That sounds very good. Yes. No. I think so, maybe. Would you like some?") == [
        "That sounds very good.",
        "Yes. No. I think so, maybe.",
        "Would you like some?",
    ]


def test_word_is_held_until_white_space_shows_that_it_is_complete() -> None:
    chunker = Chunker()
    assert chunker.push("It costs about 3.") == []
    assert chunker.push("5 dollars. ") == ["It costs about 3.5 dollars."]


def test_line_ends_a_clause_unless_it_is_tiny() -> None:
    assert clauses("Well\nyes\nall of it\nand more of it") == ["Well yes all of it", "and more of it"]


START = "This is the start. A second sentence of five words. "


def test_comma_ends_a_long_clause_and_not_a_short_one() -> None:
    sentence = "now, " + "word " * 18 + "comma, " + "word " * 5 + "end."
    assert clauses(START + sentence)[2:] == [sentence[: sentence.index("comma,") + 6], "word " * 5 + "end."]


def test_sentence_too_long_is_cut_between_phrases() -> None:
    sentence = "long word " * 15 + "and also " + "big words " * 10 + "end."
    assert clauses(START + sentence)[2:] == [("long word " * 15).strip(), "and also " + "big words " * 10 + "end."]


@pytest.mark.parametrize(
    "text",
    [
        "The price is 3.50 for all of them.",
        "There are 1,000 people here at 10:30 a.m. sharp.",
        "This morning Dr. Smith met J. R. Tolkien there.",
        "Some large towns, e.g. Paris or Rome.",
        "He lives in the U.S. now, doing well.",
        "Then we wait... and nothing happens at all.",
        'She said "I do not." And left at once.',
    ],
)
def test_nothing_is_lost_or_split_inside_a_word(text: str) -> None:
    assert spoken(text) == text
    assert all(not clause.endswith(("Dr.", "e.g.", "U.S. ", "J.", "3.")) for clause in clauses(text))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Here is **a bold** and *an italic* word.", "Here is a bold and an italic word."),
        ("Call __init__ of my_class with `pip install`.", "Call init of my class with pip install."),
        ("This is ~~wrong~~ right.", "This is wrong right."),
        ("# The title\nAnd the text.", "The title. And the text."),
        ("- Milk\n* Eggs\n+ Bread\n", "Milk. Eggs. Bread."),
        ("1. Heat the oven\n2. Wait.\n", "1. Heat the oven. 2. Wait."),
        ("> A quoted line.\n", "A quoted line."),
        ("Above.\n\n---\n\nBelow.", "Above. Below."),
        ('See [the docs. Now](https://example.com/a_(b) "a title") please.', "See the docs. Now please."),
        ("Look: ![a cat](cat.png)", "Look: a cat"),
        ("Go to https://www.example.com/path?q=1. Then <https://a.org/b>!", "Go to example.com. Then a.org!"),
        ("Run this:\n```python\nprint('*')\n\nx | y\n```\nDone.", "Run this: Done."),
        ("<think>They ask\nfor **tea**.</think>Tea it is.", "Tea it is."),
        ("| Tea | Price |\n|-----|:-----:|\n| Green | $2 |\n", "Tea, Price. Green, $2."),
        ("Tom &amp; Ann are <b>very</b> happy 😀🇩🇪 today!", "Tom & Ann are very happy today!"),
        ("So 2 * 3 is 6, and 2*3 too.", "So 2 × 3 is 6, and 2×3 too."),
        (r"A star \* and a dot 1\. here.", "A star and a dot 1. here."),
        ("What is it ?", "What is it?"),
    ],
)
def test_markup_is_not_spoken(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize("text", ["", " \n ", "...", "😀 !", "** **", "---\n", "```\ncode\n```", "- \n- \n"])
def test_nothing_to_say_gives_no_clause(text: str) -> None:
    assert clauses(text) == []


def test_reader_of_an_endless_word_keeps_giving() -> None:
    chunker = Chunker()
    assert sum(len(clause) for clause in chunker.push("x" * 5000)) >= 3000


@pytest.mark.parametrize("word", ["end.", "Really?", 'over."', "I.", "3.", "(yes.)", "p.q!"])
def test_sentence_ends(word: str) -> None:
    assert ends_sentence(word)


@pytest.mark.parametrize("word", ["Dr.", "J.", "U.S.", "e.g.", "(etc.", "well...", "3.5", "and", "Ph.D.", ""])
def test_sentence_goes_on(word: str) -> None:
    assert not ends_sentence(word)
