"""Functions as experiments: call one, and the call is recorded; ask what it recorded, today or next year."""

from smallab import ExperimentRunner, experiment, load_results, new_seed, time_block


@experiment
def square(x: float, y: int = 2) -> float:
    return x**y


print([square(x) for x in range(5)])  # it returns what the function returns

for observation in square.observations()[-5:]:  # all calls there ever were, the oldest first
    print(observation.specification, "gives", observation.result)

# It takes arguments from a dict, too, and runs as a batch: then what is completed is skipped.
square.run({"x": 3, "y": 3})
specifications = [{"x": x, "y": 3} for x in range(4)]
print(ExperimentRunner().run("cubes", specifications, square).completed or "nothing left to run")
print(sorted(observation.result for observation in load_results("cubes")))


# What is expensive is answered from an observation of the same arguments and the same code. Change the function, and
# it is called again; observations(current_code_only=True) leaves out what its older versions made.
@experiment(cache=True, format="json")
def simulate(particles: int) -> dict[str, int]:
    with time_block("setting up"):  # shown in the observation's metadata
        seed = new_seed()  # from random_seed, if that is an argument of the call; else it is drawn, and recorded
    return {"particles": particles, "seed": seed}


print("the same seed:", simulate(100) == simulate(particles=100))
metadata = simulate.observations()[0].metadata
print(*metadata)
print("set up in", metadata["timing"]["setting up"], "seconds with", metadata["environment"]["python"]["version"])
