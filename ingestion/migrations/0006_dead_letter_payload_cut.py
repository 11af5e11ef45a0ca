from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

CUT_MARK = "\n[...]\n"


def mark_cut_payloads(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Mark the letters from before: only payloads of long records were cut, and the cut left its mark."""
    letters = apps.get_model("ingestion", "DeadLetter").objects.using(schema_editor.connection.alias)
    letters.filter(size_bytes__gt=10_000, payload__contains=CUT_MARK).update(payload_cut=True)


class Migration(migrations.Migration):
    dependencies = [
        ("ingestion", "0005_expired_rows"),
    ]

    operations = [
        migrations.AddField(
            model_name="deadletter",
            name="payload_cut",
            field=models.BooleanField(
                default=False, help_text="It was too long to keep whole, and cannot be replayed."
            ),
        ),
        migrations.RunPython(mark_cut_payloads, migrations.RunPython.noop),
    ]
