import pytest
from django.db import connection
from django.test import Client, override_settings

from core import clock, health, storage
from core.embedded import ports
from core.tasks.models import TaskWorker


@pytest.fixture(autouse=True)
def _no_kept_answer():
    health._answer = None
    health._exposure_seen_closed.clear()
    yield
    health._answer = None


@pytest.fixture
def worker(db):
    now = clock.now()
    return TaskWorker.objects.create(host="here", pid=1, started_at=now, heartbeat_at=now)


def failing(response) -> dict[str, str]:
    body = response.json()
    assert response.status_code == 503
    assert response["Content-Type"] == "application/problem+json"
    assert body["code"] == "not_ready"
    return {part["name"]: part["detail"] for part in body["failing"]}


def test_livez_asks_nothing_of_the_database():
    response = Client().get("/livez")  # this test has no access to the database

    assert (response.status_code, response.json()) == (200, {"status": "alive"})
    assert response["Cache-Control"] == "no-store"


def test_readyz_is_200_when_every_part_works(worker):
    response = Client().get("/readyz")

    assert response.status_code == 200, response.content
    checks = response.json()["checks"]
    assert {"database", "storage", "queue", "demo_data", "row_level_security"} <= checks.keys()
    assert set(checks.values()) == {"ok"}


def test_readyz_names_the_queue_without_a_worker(db):
    assert failing(Client().get("/readyz"))["queue"] == "No worker is alive."


def test_readyz_names_the_storage_that_does_not_answer(worker, settings):
    settings.S3_ENDPOINT_URL = settings.S3_PUBLIC_ENDPOINT_URL = f"http://127.0.0.1:{ports.free_port()}"
    storage.reset()
    try:
        assert list(failing(Client().get("/readyz"))) == ["storage"]
    finally:
        storage.reset()


@pytest.mark.django_db(transaction=True)
def test_readyz_names_the_database_that_does_not_answer(settings):
    original = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = str(ports.free_port())
    try:
        found = failing(Client().get("/readyz"))
        assert found["database"] == "The database does not answer."
        assert found["queue"] == "It needs the database."
        assert "storage" not in found
        assert Client().get("/livez").status_code == 200
    finally:
        connection.close()
        connection.settings_dict["PORT"] = original


def test_readyz_names_the_demo_data_while_they_are_loaded(worker, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    (tmp_path / "demo.loading").touch()

    assert failing(Client().get("/readyz")) == {"demo_data": "The demo data is being loaded."}


def test_readyz_names_a_table_that_is_open_to_others(worker):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_scheduleentry DISABLE ROW LEVEL SECURITY")

    assert list(failing(Client().get("/readyz"))) == ["row_level_security"]


def test_readyz_asks_the_dependencies_once_a_second_however_often_it_is_asked(worker, django_assert_num_queries):
    Client().get("/readyz")

    with django_assert_num_queries(0):
        assert Client().get("/readyz").status_code == 200


def test_an_app_may_add_a_check_and_one_that_raises_is_a_failing_one(worker):
    def broken() -> str | None:
        raise RuntimeError("boom")

    health.register_check("broken", broken)
    try:
        assert failing(Client().get("/readyz")) == {"broken": "The check itself failed; see the log."}
    finally:
        del health._checks["broken"]


@pytest.mark.parametrize("method", ["post", "put", "delete"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_the_probes_only_read(method, path):
    assert getattr(Client(), method)(path).status_code == 405


@pytest.mark.django_db
@override_settings(METRICS_TOKEN="")
def test_without_a_token_metrics_are_for_this_machine_only():
    assert b"revsync_tasks_due" in Client().get("/metrics").content
    assert Client(REMOTE_ADDR="192.0.2.7").get("/metrics").status_code == 404
    assert Client(HTTP_X_FORWARDED_FOR="192.0.2.7").get("/metrics").status_code == 404, "a proxy on this machine lets others in"


@pytest.mark.django_db
@override_settings(METRICS_TOKEN="metrics-token")
def test_with_a_token_metrics_are_for_who_has_it():
    assert Client().get("/metrics").status_code == 404
    assert Client(HTTP_AUTHORIZATION="Bearer other").get("/metrics").json()["code"] == "not_found"
    assert Client(HTTP_AUTHORIZATION="Bearer metrics-token", REMOTE_ADDR="192.0.2.7").get("/metrics").status_code == 200
