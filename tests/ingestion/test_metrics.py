from ingestion.metrics import BoundedLabel


def test_a_label_keeps_its_first_values_and_counts_the_rest_as_other() -> None:
    label = BoundedLabel(limit=2)
    assert [label(value) for value in ("chat", "search", "mail", "chat")] == [
        "chat",
        "search",
        "other",
        "chat",
    ]
