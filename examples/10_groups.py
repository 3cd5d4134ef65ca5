"""Several experiments under one command line: ``-h`` lists them, ``fit -h`` shows what one of them takes.

A group's parameters are inherited by all that is in it: ``fit --noise 0.5 --degree 5``, ``data draw --noise 0.5``.
"""

import random
import statistics
import sys
from typing import Any

from smallab import group, new_seed, parameter


@parameter("noise", type=float, default=0.02, help="The standard deviation of what is added to each point.")
@parameter("points", type=int, default=50, help="How many points there are.")
@group
def line() -> None:
    """Fit a line through noisy points."""  # this function is never run


def noisy(points: int, noise: float) -> list[tuple[float, float]]:
    drawn = random.Random(new_seed())
    return [(x / points, 2 * x / points + 1 + drawn.gauss(0, noise)) for x in range(points)]


@line.experiment
def fit(points: int, noise: float) -> dict[str, float]:  # a signature is passed those of the group that it names
    """Fit the line, and say what it is."""
    xs, ys = zip(*noisy(points, noise), strict=True)
    slope, intercept = statistics.linear_regression(xs, ys)
    return {"slope": round(slope, 1), "intercept": round(intercept, 1)}


@line.group
def data() -> None:
    """Look at the points."""


@data.experiment
@parameter("width", type=int, default=40, help="How many characters wide the picture is.")
def draw(params: dict[str, Any]) -> None:  # `params` is passed the dict of all
    """Draw the points."""
    for _, y in noisy(params["points"], params["noise"])[:: max(1, params["points"] // 10)]:
        print(" " * round(params["width"] * y / 4) + "x")


if __name__ == "__main__":
    line.cli(sys.argv[1:] or ["fit"])  # line.cli() shows the help where nothing is typed; here, fit runs
