"""A function with a command line: try ``-h``, then ``--darts 100000 --generator quasi``, then ``--darts many``.

What is typed is checked, and becomes the specification of a recorded call, defaults included: kebab-case on the
command line, snake_case here. ``--params-file`` takes the specification.json of an earlier call; options override it.
"""

import math
import random
from typing import Literal

from smallab import experiment, new_seed, parameter


@parameter("darts", envvar="DARTS")
@parameter("print_every", default=None, hidden=True)
@experiment
def estimate_pi(
    darts: int = 10_000,
    generator: Literal["random", "quasi"] = "random",
    print_every: int | None = None,
) -> dict[str, float]:
    """Estimate pi by throwing darts at a square.

    The share of darts that land in the circle tells the area of the circle.

    Parameters
    ----------
    darts
        How many are thrown.
    generator
        Where they land: anywhere, or evenly spread.
    """
    drawn = random.Random(new_seed())  # --random-seed 1 gives the same darts again
    hits = 0
    for dart in range(darts):
        x = (dart * math.sqrt(2)) % 1 if generator == "quasi" else drawn.random()
        y = (dart * math.sqrt(3)) % 1 if generator == "quasi" else drawn.random()
        hits += x * x + y * y < 1
        if print_every and dart % print_every == 0:
            print(dart, "darts thrown")
    estimate = 4 * hits / darts
    return {"estimate": estimate, "error": abs(estimate - math.pi)}


if __name__ == "__main__":
    estimate_pi.cli()  # prints the result and where it was saved; exits with 1 if it fails, 2 if an option is wrong
