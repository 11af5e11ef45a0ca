from __future__ import annotations

from typing import Any

import pytest

from alerting.checks import check_allowed_networks


@pytest.mark.parametrize("networks", [[], ["127.0.0.0/8", "::1", "10.1.2.3"]])
def test_networks_pass(networks: list[str], settings: Any) -> None:
    settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS = networks

    assert check_allowed_networks() == []


@pytest.mark.parametrize("network", ["intranet", "10.0.0.1/8", "300.0.0.0/8"])
def test_what_is_no_network_is_an_error_that_names_it(network: str, settings: Any) -> None:
    settings.SENTINEL_WEBHOOK_ALLOWED_NETWORKS = [network]

    (error,) = check_allowed_networks()

    assert error.id == "alerting.E001"
    assert network in error.msg
