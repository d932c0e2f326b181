"""Record what PyTorch does: `python tests/events/record.py [THEME ...]`, with PyTorch installed, writes expected/THEME.json.

Without a theme all are recorded anew.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402

from events.log import run  # noqa: E402
from events.scenarios import THEMES, scenarios_of, theme_of  # noqa: E402

if __name__ == "__main__":
    for module in THEMES:
        theme = theme_of(module)
        if sys.argv[1:] and theme not in sys.argv[1:]:
            continue
        expected = {scenario.__name__: run(scenario, torch) for scenario in scenarios_of(module)}
        text = json.dumps(expected, indent=0, ensure_ascii=False)
        (HERE / "expected" / f"{theme}.json").write_text(text + "\n")
        events = sum(map(len, expected.values()))
        print(f"{theme}: {len(expected)} scenarios, {events} events, as PyTorch {torch.__version__} has them")
