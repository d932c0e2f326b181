"""The event log: small programs whose hooks fire on hookgrad as on PyTorch, with the same arguments, line by line.

What PyTorch does is recorded in events/expected.json (`python tests/events/record.py` writes it); what hookgrad does
otherwise, on purpose, stands in events/differences.json and in docs/differences.md.
"""

import json
from pathlib import Path

import pytest
from events.log import run
from events.scenarios import SCENARIOS

import hookgrad

HERE = Path(__file__).resolve().parent / "events"
EXPECTED = json.loads((HERE / "expected.json").read_text())
DIFFERENT = json.loads((HERE / "differences.json").read_text())


def test_the_record_is_complete():
    assert list(EXPECTED) == [scenario.__name__ for scenario in SCENARIOS]
    assert len(EXPECTED) >= 80


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_same_events_as_in_pytorch(scenario):
    name = scenario.__name__
    assert run(scenario, hookgrad) == DIFFERENT.get(name, EXPECTED[name])


def test_every_difference_is_one_and_is_documented():
    text = (HERE.parent.parent / "docs" / "differences.md").read_text()
    for name, lines in DIFFERENT.items():
        assert lines != EXPECTED[name]
        assert f"`{name}`" in text
