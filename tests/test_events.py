"""The event log: small programs whose hooks fire on hookgrad as on PyTorch, with the same arguments, line by line.

What PyTorch does is recorded in events/expected/ (`python tests/events/record.py` writes it); what hookgrad does
otherwise, on purpose, stands in events/differences.json and in docs/differences.md.
"""

import json
from pathlib import Path

import pytest
from events.log import run
from events.scenarios import SCENARIOS, THEMES, scenarios_of, theme_of

import hookgrad

HERE = Path(__file__).resolve().parent / "events"
BY_THEME = {theme_of(m): json.loads((HERE / "expected" / f"{theme_of(m)}.json").read_text()) for m in THEMES}
EXPECTED = {name: lines for theme in BY_THEME.values() for name, lines in theme.items()}
DIFFERENT = json.loads((HERE / "differences.json").read_text())


def test_the_record_is_complete():
    for module in THEMES:
        assert list(BY_THEME[theme_of(module)]) == [scenario.__name__ for scenario in scenarios_of(module)]
    assert len(EXPECTED) == len(SCENARIOS) >= 80


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_same_events_as_in_pytorch(scenario):
    name = scenario.__name__
    assert run(scenario, hookgrad) == DIFFERENT.get(name, EXPECTED[name])


def test_every_difference_is_one_and_is_documented():
    text = (HERE.parent.parent / "docs" / "differences.md").read_text()
    for name, lines in DIFFERENT.items():
        assert lines != EXPECTED[name]
        assert f"`{name}`" in text
