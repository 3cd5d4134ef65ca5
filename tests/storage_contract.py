"""What every place for batches must do: a test class inherits `StorageContract`, and brings a factory of places."""

import threading

import pytest

from smallab import SpecificationFailed
from smallab.observation import Failure
from smallab.specification import canonical, digest
from smallab.storage.base import iso

FAILURE = Failure("ValueError", "it will not do", "Traceback …\nValueError: it will not do\n")


def texts(*values):
    return [canonical({"x": x, "name": "größe"}) for x in values]


def metadata(run_id, **more):
    return {"run_id": run_id, "started": iso(0.0), "ended": iso(1.0), "duration": 1.0, "attempt": 1, **more}


class StorageContract:
    """Whoever inherits these tests has a method `place(name)`: it returns the place of a batch, the same each time."""

    def place(self, name="batch"):
        raise NotImplementedError

    def run_of(self, completed=(), failed=(), name="batch", **options):
        """Be a run in which some completed and some failed; return its id."""
        storage = self.place(name)
        with storage.run({"pending": len([*completed, *failed]), "skipped": 0, **options}) as run:
            for text in completed:
                storage.save(run.id, text, {"of": text}, metadata(run.id))
                run.note(text, "completed")
            for text in failed:
                storage.fail(run.id, text, FAILURE, metadata(run.id))
                run.note(text, "failed")
        return run.id

    def interrupted_run(self):
        storage = self.place()
        with storage.run({"pending": 3, "skipped": 0}) as run:
            for text in texts(1, 2):
                storage.save(run.id, text, 1, metadata(run.id))
            run.note(*texts(1), "completed")  # of the other one, nobody took the report
            raise KeyboardInterrupt

    def test_a_place_that_was_only_looked_into_is_not_there(self):
        storage = self.place()
        assert storage.known() == ({}, {})
        assert storage.recover() == ({}, {})
        assert list(storage.events({})) == []
        assert storage.runs() == []
        assert not storage.exists()
        assert not storage.has_result(*texts(1))

    def test_what_a_run_did_is_known_in_order_when_it_has_ended(self):
        self.run_of(texts(3, 1), texts(4, 2))
        assert self.place().exists()
        completed, failed = self.place().known()
        assert (list(completed), list(failed)) == (texts(3, 1), texts(4, 2))
        assert self.place().recover() == (completed, failed)

    def test_a_result_comes_back_with_what_was_recorded(self):
        (text,) = texts(1)
        run_id = self.run_of([text], code="def main(): …")
        observation = self.place().load(text)
        assert (observation.id, observation.failure) == (digest(text), None)
        assert (observation.specification, observation.result) == ({"x": 1, "name": "größe"}, {"of": text})
        assert observation.metadata["run_id"] == self.place().metadata(text)["run_id"] == run_id
        assert observation.metadata["code"] == "def main(): …"
        assert observation.metadata["timing"]["duration"] == 1.0
        assert self.place().completed_by(text) == run_id
        assert self.place().has_result(text)

    def test_a_failure_comes_back_as_it_was(self):
        (text,) = texts(1)
        run_id = self.run_of(failed=[text])
        observation = self.place().load_failure(text)
        assert (observation.failure, observation.result) == (FAILURE, None)
        assert observation.metadata["run_id"] == run_id
        with pytest.raises(SpecificationFailed, match="it will not do"):
            observation.value  # noqa: B018  # what it raises is what is tested
        assert not self.place().has_result(text)

    def test_what_is_not_there_is_loaded_as_a_failure(self):
        self.run_of(texts(1))
        (other,) = texts(2)
        assert self.place().load(other).failure is not None
        assert self.place().load_failure(other).failure is not None
        assert self.place().completed_by(other) is None

    def test_a_completion_beats_a_failure_whichever_came_first(self):
        first, second = texts(1, 2)
        self.run_of([first], [second])
        self.run_of([second])
        assert list(self.place().known()[0]) == [first, second]
        assert self.place().known()[1] == {}

    def test_what_is_forgotten_counts_as_never_run_and_its_result_stays(self):
        self.run_of(texts(1, 2), texts(3, 4))
        self.place().forget(texts(2, 3))
        completed, failed = self.place().known()
        assert (list(completed), list(failed)) == (texts(1), texts(4))
        assert self.place().load(*texts(2)).result == {"of": texts(2)[0]}
        self.place().forget([])
        assert list(self.place().known()[0]) == texts(1)

    def test_a_failed_rerun_leaves_the_old_result_where_it_is(self):
        (text,) = texts(1)
        self.run_of([text])
        self.place().forget([text])
        self.run_of(failed=[text])
        assert self.place().known() == ({}, {text: None})
        assert self.place().load(text).result == {"of": text}
        self.run_of([text])
        assert self.place().known() == ({text: None}, {})

    def test_an_interrupted_run_keeps_what_its_workers_saved(self):
        with pytest.raises(KeyboardInterrupt):
            self.interrupted_run()
        assert list(self.place().known()[0]) == texts(1, 2)
        (seen,) = self.place().runs()
        assert (seen.presence, seen.record["completed"], seen.record["failed"]) == ("ended", 2, 0)

    def test_what_is_listed_and_what_events_tell_are_together_what_is_known(self):
        self.run_of(texts(1), texts(2))
        storage = self.place()
        assert storage.listed() == storage.known()
        assert storage.listed() is storage.listed()
        with storage.run({"pending": 1, "skipped": 0}) as run:
            storage.save(run.id, *texts(3), 1, metadata(run.id))
            assert list(storage.listed()[0]) == texts(1)
            assert list(storage.known()[0]) == texts(1, 3)
            assert [event.text for event in storage.events({})] == texts(3)

    def test_what_is_rebuilt_is_what_was_saved(self):
        self.run_of(texts(1, 2), texts(3))
        self.place().forget(texts(1, 3))
        self.place().rebuild()
        completed, failed = self.place().known()
        assert (sorted(completed), sorted(failed)) == (texts(1, 2), texts(3))

    def test_two_runs_at_once_lose_nothing(self):
        meeting = threading.Barrier(2)

        def work(values):
            storage = self.place()
            with storage.run({"pending": len(values), "skipped": 0}) as run:
                for text in texts(*values):
                    storage.save(run.id, text, 1, metadata(run.id))
                    run.note(text, "completed")
                meeting.wait(30)

        threads = [threading.Thread(target=work, args=[values]) for values in (range(5), range(3, 8))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(self.place().known()[0]) == sorted(texts(*range(8)))
        assert len(self.place().runs()) == 2

    def test_events_are_told_once_each_to_whoever_asks_since_when(self):
        storage, since = self.place(), {}
        first, second = texts(1, 2)
        with storage.run({"pending": 2, "skipped": 0}) as run:
            storage.tell(run.id, "started", first, {"label": "the first"})
            (event,) = self.place().events(since)
            assert (event.name, event.run_id, event.id) == ("started", run.id, digest(first))
            assert event.details["label"] == "the first"
            assert event.text == first
            assert list(self.place().events(since)) == []
            storage.tell(run.id, "progress", first, {"done": 1, "total": 3})
            storage.save(run.id, first, 1, metadata(run.id))
            storage.fail(run.id, second, FAILURE, metadata(run.id))
            assert [event.name for event in self.place().events(since)] == ["progress", "completed", "failed"]
            assert len(list(self.place().events({}))) == 4

    def test_runs_are_seen_while_they_go_on_and_when_they_have_ended(self):
        older = self.run_of(texts(1))
        storage = self.place()
        with storage.run({"pending": 1, "skipped": 1, "command": ["a.py"]}) as run:
            ended, running = self.place().runs()
            assert (ended.id, ended.presence, running.id, running.presence) == (older, "ended", run.id, "running")
            assert running.record["command"] == ["a.py"]
            assert running.silence < 60
            assert [seen.id for seen in self.place().runs(newest=0)] == [run.id]
        assert [seen.presence for seen in self.place().runs()] == ["ended", "ended"]
        assert [seen.id for seen in self.place().runs(newest=1)] == [run.id]

    def test_batches_do_not_know_of_each_other(self):
        self.run_of(texts(1), name="one")
        self.run_of(texts(2), name="two")
        assert list(self.place("one").known()[0]) == texts(1)
        assert list(self.place("two").known()[0]) == texts(2)

    def test_a_place_travels_to_other_processes_by_its_name(self):
        import pickle

        (text,) = texts(1)
        self.run_of([text])
        travelled = pickle.loads(pickle.dumps(self.place()))
        assert travelled.load(text).result == {"of": text}

    def test_a_workspace_is_a_folder_of_a_specifications_own(self):
        first, second = texts(1, 2)
        assert self.place().workspace(first) == self.place().workspace(first)
        assert self.place().workspace(first) != self.place().workspace(second)
