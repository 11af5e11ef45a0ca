"""Cut a long text to a number of bytes, head and tail, without leaving half a secret at the cut.

The scan for personal data sees only what is stored, so whatever the cut halves must go: half an e-mail address or key
matches no rule. The token on each side of the cut is dropped, and with it the run of number groups that it ends or
starts ("4111 1111 |cut| 1111 1111"). Scripts written without spaces break at every character, else a Chinese text
would be one token.
"""

from __future__ import annotations

import re

CUT_MARK = "\n[...]\n"

# Thai to Khmer, CJK punctuation, kana, ideographs, Hangul, and the supplementary ideographs; not the full-width
# forms (U+FF00), which can spell an address.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[^\s{_SPACELESS}]*")
_NUMBER_GROUPS = re.compile(r"(?:\s{1,3}(?=\S{0,15}\d)\S{1,16}(?!\S)){0,9}")


def cut_text(text: str, *, max_bytes: int) -> str:
    """Return `text` if its UTF-8 form has at most `max_bytes`, else its head and tail around `CUT_MARK`.

    The result never exceeds `max_bytes`, except that a limit shorter than the mark gives an empty text.
    """
    if len(text) * 4 <= max_bytes or (text.isascii() and len(text) <= max_bytes):
        return text
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    room = max_bytes - len(CUT_MARK)
    if room < 0:
        return ""
    head = encoded[: room - room // 2].decode(errors="ignore")
    tail = encoded[len(encoded) - room // 2 :].decode(errors="ignore")
    return _without_first_token(head[::-1])[::-1] + CUT_MARK + _without_first_token(tail)


def _without_first_token(text: str) -> str:
    token = _TOKEN.match(text)
    groups = _NUMBER_GROUPS.match(text, token.end() if token else 0)
    return text[groups.end() if groups else 0 :]
