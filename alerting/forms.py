"""The form of a rule: types as a line of text, the secret write-only."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from alerting.models import AlertRule, check_anomaly_types, check_secret
from detection.kinds import TYPE_OF_METRIC


class AnomalyTypesField(forms.CharField):
    """A list of anomaly types, written with commas."""

    def prepare_value(self, value: object) -> object:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: object) -> Any:
        names = str(value or "").replace(",", " ").split()
        return list(dict.fromkeys(names))

    def run_validators(self, value: Any) -> None:
        check_anomaly_types(value)


class AlertRuleForm(forms.ModelForm):  # type: ignore[type-arg]  # takes no parameter at run time
    """Checks the target as `AlertRule.clean` does and takes a new secret; the stored one is never shown."""

    anomaly_types = AnomalyTypesField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=f"Names separated by commas; empty: every type. Those found today: {', '.join(TYPE_OF_METRIC.values())}.",
    )
    new_secret = forms.CharField(
        required=False,
        max_length=200,
        strip=True,
        validators=[check_secret],
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        label="New webhook secret",
    )

    class Meta:
        model = AlertRule
        fields = [
            "project", "name", "enabled", "anomaly_types", "min_severity", "service_pattern", "model_pattern",
            "cooldown_seconds", "max_age_seconds", "max_attempts", "channel", "webhook_url",
        ]  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hint = self.instance.secret_hint
        now = f"Now in use: a secret that ends in {hint}. " if hint else ""
        if "new_secret" in self.fields:
            self.fields["new_secret"].help_text = (
                f"{now}Empty: keep it, or make one for a webhook that has none. After a change requests carry the "
                "signatures of both for 24 hours."
            )
