"""Artefacts: files that an experiment makes have a folder of their own, and are found again."""

from smallab import current_dir, current_id, experiment


@experiment
def walk(steps: int, step: float = 1.0) -> float:
    """Walk into one direction, and keep a diary."""
    places = [number * step for number in range(steps + 1)]
    with open(current_dir() / "places.csv", "w", encoding="utf-8") as file:
        file.writelines(f"{place}\n" for place in places)
    walk.logger.info("%s went %d steps", current_id(), steps)  # to the log.txt beside that folder
    return places[-1]


walk(3)
process = walk.run_in_new_process({"steps": 4, "step": 0.5})  # meanwhile, this script goes on
process.join()

for observation in walk.observations()[-2:]:
    for path in walk.artefacts(observation.id):
        print(observation.result, path.name, path.read_text(encoding="utf-8").split())

# What an experiment raises is recorded, and raised.
try:
    walk(steps=-1)
except IndexError:
    print(walk.observations()[-1].failure)
