"""Prompts and responses of a given length, some with invented personal data, to see the scrubbing at work (pure).

Everything personal is made up: reserved example domains and the card networks' test prefixes with a valid check digit.
"""

from __future__ import annotations

import numpy as np

CHARACTERS_PER_TOKEN = 4.2
PII_SHARE = 0.02

SUBJECTS = (
    "the quarterly report", "our refund policy", "this support ticket", "the deployment plan", "the customer's last message",
    "a failing unit test", "the onboarding guide", "the contract draft", "the incident timeline", "the search results",
    "the warehouse inventory", "a product description", "the meeting notes", "the migration script", "the pricing table",
)  # fmt: skip
VERBS = (
    "summarise", "explain", "rewrite", "translate", "compare", "check", "shorten", "extend", "classify", "review",
    "restructure", "draft an answer about", "find the open questions in", "list the risks of", "extract the dates from",
)  # fmt: skip
DETAILS = (
    "in plain language", "for a technical reader", "with three examples", "without changing the meaning",
    "and keep the numbers", "in less than two hundred words", "as a bullet list", "and mention the exceptions",
    "using only the documents above", "with a short conclusion", "step by step", "and say what is missing",
    "so that a new colleague understands it", "before Thursday's call", "in a friendly tone",
)  # fmt: skip
REMARKS = (
    "The second paragraph matters most.", "Version {n} replaced it in March.", "There were {n} similar cases last month.",
    "Nobody has confirmed the total of {n} yet.", "The team agreed on this on day {n}.", "Please cite section {n}.",
    "It affects about {n} accounts.", "Keep row {n} unchanged.", "The limit is {n} requests an hour.",
)  # fmt: skip
FIRST_NAMES = ("jane", "omar", "li", "sofia", "tom", "amara", "yuki", "pedro")
LAST_NAMES = ("miller", "haddad", "wei", "rossi", "becker", "okafor", "tanaka", "silva")
DOMAINS = ("example.com", "example.org", "mail.example.net")
CARD_PREFIXES = ("411111", "555555", "520082", "400005")


def corpus(rng: np.random.Generator, *, characters: int = 200_000) -> str:
    """Return running text made of varied sentences; texts of events are slices of it."""
    sentences: list[str] = []
    length = 0
    while length < characters:
        pick = rng.integers(0, 1 << 30, 4).tolist()
        sentence = (
            f"Please {VERBS[pick[0] % len(VERBS)]} {SUBJECTS[pick[1] % len(SUBJECTS)]}"
            f" {DETAILS[pick[2] % len(DETAILS)]}."
        )
        if pick[3] % 2:
            remark = REMARKS[pick[3] % len(REMARKS)]
            sentence += " " + remark.format(n=2 + pick[3] % 997)
        sentences.append(sentence)
        length += len(sentence) + 1
    return " ".join(sentences)


def personal_data(rng: np.random.Generator) -> str:
    """Return one sentence with an invented e-mail address, card number or both."""
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    email = f"{first}.{last}{rng.integers(1, 99)}@{rng.choice(DOMAINS)}"
    card = card_number(rng)
    return (
        f"Write to {email} when it is done.",
        f"My card number is {card}, please refund it.",
        f"Customer {first.title()} {last.title()} <{email}> paid with card {card}.",
    )[int(rng.integers(3))]


def card_number(rng: np.random.Generator) -> str:
    """Return 16 digits with a valid Luhn check digit, of a test range."""
    digits = str(rng.choice(CARD_PREFIXES)) + "".join(str(digit) for digit in rng.integers(0, 10, 9))
    doubled = (sum(divmod(2 * int(digit), 10)) if place % 2 == 0 else int(digit) for place, digit in enumerate(digits))
    return digits + str(-sum(doubled) % 10)
