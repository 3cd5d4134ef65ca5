"""What runs here: its id, folder, seeds and times, in threads and processes, nested, in batches and in calls."""

import contextvars
import threading

import pytest

from smallab import (
    Experiment,
    ExperimentRunner,
    current_dir,
    current_id,
    load_results,
    new_seed,
    specification_hash,
    time_block,
)

WORKERS = [{}, {"num_parallel": 4}, {"num_parallel": 2, "backend": "loky"}]


class Knows(Experiment):
    def main(self, specification):
        with time_block("writing"):
            (current_dir() / "file.txt").write_text(current_id())
        with time_block("seeding"), time_block("within"):
            seeds = [new_seed(), new_seed(), self.rng.random()]
        with time_block("writing"):
            pass
        return {"id": current_id(), "folder": str(current_dir()), "seeds": seeds}


@pytest.mark.parametrize("workers", WORKERS)
def test_in_a_batch(workers, batches_in_tmp_path):
    specifications = [{"x": x} for x in range(8)]
    assert ExperimentRunner().run("batch", specifications, Knows(), show_progress=False, **workers)
    for found in load_results("batch"):
        assert found.result["id"] == found.id == specification_hash(found.specification)
        folder = batches_in_tmp_path / "batch" / found.id / "artefacts"
        assert found.result["folder"] == str(folder)
        assert (folder / "file.txt").read_text() == found.id
        timing = found.metadata["timing"]
        assert set(timing) == {"start", "end", "duration", "writing", "seeding", "within", "total"}
        assert timing["within"] <= timing["seeding"] <= timing["total"]


def test_two_runs_of_a_batch_draw_the_same_in_any_order_on_any_backend():
    specifications = [{"x": x} for x in range(8)]
    seen = []
    for number, workers in enumerate(WORKERS):
        ordered = specifications[:: -1 if number % 2 else 1]
        ExperimentRunner().run(f"batch{number}", ordered, Knows(), show_progress=False, **workers)
        seen.append({item.id: item.result["seeds"] for item in load_results(f"batch{number}")})
    assert seen[0] == seen[1] == seen[2]
    assert len({seed for seeds in seen[0].values() for seed in seeds}) == 24


def test_blocks_that_raise_are_timed():
    class Fails(Experiment):
        def main(self, specification):
            with time_block("part"):
                raise ValueError("on purpose")

    ExperimentRunner().run("batch", [{}], Fails(), show_progress=False)
    (found,) = load_results("batch")
    assert found.metadata["timing"]["part"] <= found.metadata["timing"]["total"]


@pytest.mark.parametrize("name", ["start", "end", "duration", "total"])
def test_a_block_cannot_hide_the_times_that_are_there_anyway(name):
    with pytest.raises(ValueError, match="give the block another name"), time_block(name):
        pass


@pytest.mark.parametrize("ask", [current_id, current_dir, new_seed, lambda: time_block("part").__enter__()])
def test_outside_there_is_nothing(ask):
    with pytest.raises(RuntimeError, match="no specification is running here: call this inside an experiment"):
        ask()


def test_a_thread_of_an_experiment_knows_it_where_it_takes_the_context_along():
    class Threads(Experiment):
        def main(self, specification):
            seen = []

            def ask():
                try:
                    seen.append(current_id())
                except RuntimeError:
                    seen.append(None)

            for target, arguments in ((ask, ()), (contextvars.copy_context().run, (ask,))):
                thread = threading.Thread(target=target, args=arguments)
                thread.start()
                thread.join()
            return seen

    ExperimentRunner().run("batch", [{"x": 1}], Threads(), show_progress=False)
    assert [item.result for item in load_results("batch")] == [[None, specification_hash({"x": 1})]]


def test_a_batch_inside_a_batch():
    class Outer(Experiment):
        def main(self, specification):
            before = current_id()
            ExperimentRunner().run(f"inner{specification['x']}", [{"y": 1}, {"y": 2}], Knows(), show_progress=False)
            return before == current_id() == specification_hash(specification)

    assert ExperimentRunner().run("outer", [{"x": 1}, {"x": 2}], Outer(), num_parallel=2, show_progress=False)
    assert [item.result for item in load_results("outer")] == [True, True]
    assert [item.result["id"] == item.id for item in load_results("inner1")] == [True, True]
