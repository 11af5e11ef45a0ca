from __future__ import annotations

from django.test import Client
from django.urls import reverse

from ingestion.models import InboxPartition, Project, Topic


def test_a_new_project_gets_its_http_topic(inbox: None, staff: Client) -> None:
    data = {
        "name": "Shop",
        "slug": "shop",
        "retention_days": "30",
        "text_policy": "keep",
        "topics-TOTAL_FORMS": "0",
        "topics-INITIAL_FORMS": "0",
    }
    page = staff.post(reverse("admin:ingestion_project_add"), data, follow=True).content.decode()
    assert "go to topic llm.telemetry.shop." in page
    topic = Topic.objects.get(project__slug="shop")
    assert topic.receives_http
    assert InboxPartition.objects.filter(topic=topic.name).exists()


def test_a_project_cannot_be_deleted(staff: Client, project: Project) -> None:
    url = reverse("admin:ingestion_project_delete", args=[project.pk])
    assert staff.post(url, {"post": "yes"}).status_code == 403
