"""Put what was measured of a run after its release into its bundle.

``python scripts/renew_measurements.py RUN BUNDLE`` writes the sections of ``card.md`` on other sources, on sources left
out of training, and on robustness again, as the run's folder holds them, and the limit that speaks of other sources;
nothing else of the bundle changes. A new release holds them by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ichor.detecting.bundle import load_bundle
from ichor.errors import IchorError
from ichor.training.card import remeasured_card
from ichor.training.run_folder import read_recipe


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("bundle", type=Path, help="folder of a bundle that was made of it")
    options = parser.parse_args()
    try:
        bundle = load_bundle(options.bundle)
        epochs = read_recipe(options.run).epochs
        limits, card = remeasured_card(bundle.manifest, bundle.card_text, options.run, epochs)
    except IchorError as error:
        print(error, file=sys.stderr)
        return 2
    manifest = json.loads((options.bundle / "bundle.json").read_text(encoding="utf-8"))
    manifest["limits"] = list(limits)
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    (options.bundle / "bundle.json").write_text(text + "\n", encoding="utf-8")
    (options.bundle / "card.md").write_text(card, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
