from __future__ import annotations

import pytest

from alerting.channels.url import Endpoint, parse_url


def test_a_url_is_taken_apart() -> None:
    assert parse_url("https://hooks.example.com/a/b?c=d") == Endpoint(
        secure=True, host="hooks.example.com", port=443, path="/a/b?c=d"
    )
    assert parse_url("http://[2606:4700::1]:8080") == Endpoint(secure=False, host="2606:4700::1", port=8080, path="/")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "must start with https"),
        ("ftp://example.com/", "must start with https"),
        ("file:///etc/passwd", "must start with https"),
        ("example.com/hook", "must start with https"),
        ("https:///hook", "names no host"),
        ("https://user:s3cret@example.com/", "user name or password"),
        ("https://example.com/#x", "fragment"),
        ("https://example.com:99999/", "malformed"),
        ("https://[::1/", "malformed"),
        ("https://example.com:0/", "Port 0"),
        ("https://example.com/a b", "a space"),
        ("https://example.com\\@evil.example/", "backslash"),
        ("https://example.com/\r\nX-Evil: 1", "outside printable ASCII"),
        ("https://exämple.com/", "outside printable ASCII"),
        ("https://example.com/" + "a" * 2000, "longer than 2000"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_reason_but_not_repeated(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        parse_url(url)
    assert "s3cret" not in str(caught.value)
