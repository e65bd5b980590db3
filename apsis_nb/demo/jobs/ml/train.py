"""Fit the weights of a linear model to noisy points by gradient descent; tells how it goes, in colours."""
# ruff: noqa: T201  (what a program of a job prints is its output)

import json
import os
import random
import sys
import time
from pathlib import Path

EPOCHS, EPOCH_S, RATE = 30, 1.5, 0.12
TRUE = (2.0, -1.0, 0.5)
GREEN, YELLOW, BOLD, DIM, PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


def main() -> None:
    dice = random.Random(7)
    inputs = [(1.0, dice.uniform(-1, 1), dice.uniform(-1, 1)) for _ in range(400)]
    targets = [sum(t * x for t, x in zip(TRUE, row, strict=True)) + dice.gauss(0, 0.1) for row in inputs]
    weights, before = [0.0] * 3, float("inf")
    print(f"{BOLD}training on {len(inputs)} points, {EPOCHS} epochs{PLAIN}")
    for epoch in range(1, EPOCHS + 1):
        began = time.monotonic()
        errors = [
            sum(w * x for w, x in zip(weights, row, strict=True)) - y
            for row, y in zip(inputs, targets, strict=True)
        ]
        for n in range(3):
            weights[n] -= RATE * sum(e * row[n] for e, row in zip(errors, inputs, strict=True)) / len(inputs)
        loss = sum(e * e for e in errors) / len(errors)
        colour = GREEN if loss < before else YELLOW
        done = "█" * (epoch * 20 // EPOCHS)
        print(f"epoch {epoch:3}/{EPOCHS} {DIM}{done:<20}{PLAIN} loss {colour}{loss:.4f}{PLAIN}")
        before = loss
        time.sleep(max(0.0, EPOCH_S - (time.monotonic() - began)))
    folder = Path(os.environ["DEMO_DATA"]) / "models"
    folder.mkdir(exist_ok=True)
    (folder / "boosted.json").write_text(json.dumps(weights))
    print(f"{GREEN}done:{PLAIN} weights {', '.join(f'{w:+.3f}' for w in weights)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped: the weights of before are kept")
