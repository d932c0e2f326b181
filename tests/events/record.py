"""Record what PyTorch does: `python tests/events/record.py`, with PyTorch installed, writes expected.json anew."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402

from events.log import run  # noqa: E402
from events.scenarios import SCENARIOS  # noqa: E402

if __name__ == "__main__":
    expected = {scenario.__name__: run(scenario, torch) for scenario in SCENARIOS}
    text = json.dumps(expected, indent=0, ensure_ascii=False)
    (HERE / "expected.json").write_text(text + "\n")
    print(
        f"{len(expected)} scenarios, {sum(map(len, expected.values()))} events, as PyTorch {torch.__version__} has them"
    )
