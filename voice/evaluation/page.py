"""One HTML page that holds everything it shows: tables, pictures, the worst clips. No resource comes from elsewhere."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files


def page(title: str, about: Sequence[tuple[str, str]], sections: Iterable[str]) -> str:
    """The page.

    Args:
        about: what was evaluated: (name, value).
        sections: HTML, from the functions below.
    """
    style = (files("voice.evaluation") / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{terms(about)}\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """Names, and what is to be said of each."""
    return "<dl>" + "".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in pairs) + "</dl>\n"


def section(heading: str, *parts: str) -> str:
    """A part of the page under a heading."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{''.join(parts)}</section>\n"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names the rows."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row"{_indent(name)}>{escape(name.strip())}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>\n"
        for name, *cells in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _indent(name: str) -> str:
    return ' class="part"' if name.startswith(" ") else ""


def picture(name: str, svg: str, caption: str, alternative: str) -> str:
    """A picture.

    Args:
        name: unique on the page, for the ids inside.
        alternative: says in words what it shows.
    """
    named = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    named = named.replace("<svg", f'<svg role="img" aria-label="{escape(alternative)}"', 1)
    return f"<figure>\n{named}<figcaption>{escape(caption)}</figcaption>\n</figure>\n"


def comparisons(clips: Iterable[tuple[str, str, str]]) -> str:
    """Clips with what was said beside what was heard: (heading, reference, heard)."""
    found = "".join(
        f"<article>\n<h3>{escape(heading)}</h3>\n"
        + terms([("said", right or "(nothing)"), ("heard", heard or "(nothing)")])
        + "</article>\n"
        for heading, right, heard in clips
    )
    return found or "<p>None.</p>\n"
