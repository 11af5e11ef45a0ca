"""The runbooks as pages of the admin: whoever is on call needs no checkout and no outside network."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from django.urls import reverse
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.token import Token

# A source tree has them in its documentation, an installed package where pyproject.toml puts data files.
_PLACES = (
    Path(__file__).resolve().parent.parent / "docs" / "runbooks",
    Path(sys.prefix) / "share" / "llm-sentinel" / "runbooks",
)


@cache
def render(name: str) -> SafeString | None:
    """Return the page `name` as HTML; None where there is none of that name."""
    path = next((place / f"{name}.md" for place in _PLACES if (place / f"{name}.md").is_file()), None)
    if path is None:
        return None
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(path.read_text(encoding="utf-8"))
    for token in tokens:
        for child in token.children or ():
            _lead(child)
    return SafeString(parser.renderer.render(tokens, parser.options, {}))


def _lead(token: Token) -> None:
    """Let a link to another runbook lead to its page; other pages of the documentation are not here."""
    if token.type != "link_open":
        return
    target = str(token.attrGet("href") or "")
    page, _, anchor = target.partition("#")
    if page.endswith(".md") and "/" not in page:
        url = reverse("admin:runbook", args=[page.removesuffix(".md")])
        token.attrSet("href", f"{url}#{anchor}" if anchor else url)
    elif "://" not in target:
        del token.attrs["href"]
