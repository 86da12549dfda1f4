"""A log line is JSON whatever it says."""

import json
import logging
import uuid

import pytest
import structlog

from core.testing.leaks import production_formatter


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("Müller ☂", "Müller ☂"),
        ("\ud800", "\ud800"),  # half a pair, as a broken path has it
        (2**70, 2**70),
        (uuid.UUID(int=7), str(uuid.UUID(int=7))),
        ([1.5, None, {"a": True}], [1.5, None, {"a": True}]),
    ],
)
def test_a_line_is_one_json_object(caplog, value, shown):
    structlog.get_logger("core.test").warning("done", what=value)

    (record,) = [record for record in caplog.records if record.name == "core.test"]
    line = production_formatter().format(record)
    assert "\n" not in line
    assert {name: json.loads(line)[name] for name in ("event", "level", "logger", "what")} == {
        "event": "done",
        "level": "warning",
        "logger": "core.test",
        "what": shown,
    }


def test_a_librarys_line_is_one_too(caplog):
    logging.getLogger("a.library").warning("it was %s", "so")

    line = json.loads(production_formatter().format(caplog.records[-1]))
    assert (line["event"], line["level"], line["logger"]) == ("it was so", "warning", "a.library")
