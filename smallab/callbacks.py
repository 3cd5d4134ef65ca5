"""Hooks: who is told what a batch does while it runs. They are called in the thread that called ``run``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from smallab.plugins import plugins
from smallab.specification import Specification

_log = logging.getLogger("smallab")


class CallbackManager:
    """Base class for hooks: override what you need, each method does nothing.

    A hook that raises is logged with its traceback; the batch goes on and nothing is lost.

    Examples
    --------
    >>> class Counter(CallbackManager):
    ...     completed = 0
    ...     def on_specification_complete(self, specification, result):
    ...         self.completed += 1
    """

    experiment_name = ""

    def set_experiment_name(self, name: str) -> None:
        """Take the batch's name, told before anything runs; kept as ``experiment_name``."""
        self.experiment_name = name

    def on_batch_start(self, name: str, specifications: list[Specification]) -> None:
        """Called before anything runs, with the batch's name and what is pending."""

    def on_specification_complete(self, specification: Specification, result: Any) -> None:
        """Called after a specification's result was saved, with the result read back from disk."""

    def on_specification_failure(self, exception: BaseException, specification: Specification) -> None:
        """Called after a specification's failure was recorded.

        An exception that does not survive pickling comes as a `SpecificationFailed`.
        """

    def on_batch_complete(self, specifications: list[Specification]) -> None:
        """Called at the end of a run in which at least one specification completed, with those that did."""

    def on_batch_failure(self, exceptions: list[BaseException], specifications: list[Specification]) -> None:
        """Called at the end of a run in which at least one specification failed, with those that did."""


_NO_OPERATIONS = [method for name, method in vars(CallbackManager).items() if name.startswith("on_")]


class Hooks:
    """Those who are told: a function for each hook, a list of callbacks, and what installed packages bring.

    Parameters
    ----------
    callbacks
        As for `attach_callbacks`.
    """

    def __init__(self, callbacks: Iterable[CallbackManager] = ()) -> None:
        self._functions = CallbackManager()
        self.attach_callbacks(callbacks)

    def attach_callbacks(self, callbacks: Iterable[CallbackManager]) -> None:
        """Replace the list of hooks; an empty list takes all off."""
        if isinstance(callbacks, CallbackManager) or not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks are a list: [{callbacks!r}]")
        self._attached = list(callbacks)
        for callback in self._attached:
            if not isinstance(callback, CallbackManager):
                raise TypeError(f"{callback!r} is not an object of a subclass of CallbackManager")

    def on_specification_complete(self, function: Callable[[Specification, Any], object] | None) -> None:
        """Call ``function(specification, result)`` whenever a result was saved; None takes it off."""
        self._set("on_specification_complete", function)

    def on_specification_failure(self, function: Callable[[BaseException, Specification], object] | None) -> None:
        """Call ``function(exception, specification)`` whenever one failed; None takes it off."""
        self._set("on_specification_failure", function)

    on_specification_falure = on_specification_failure  # as the documents of smallab 2 spell it

    def on_batch_complete(self, function: Callable[[list[Specification]], object] | None) -> None:
        """Call ``function(completed specifications)`` at the end of a run, if any completed; None takes it off."""
        self._set("on_batch_complete", function)

    def on_batch_failure(self, function: Callable[[list[BaseException], list[Specification]], object] | None) -> None:
        """Call ``function(exceptions, failed specifications)`` at a run's end, if any failed; None takes it off."""
        self._set("on_batch_failure", function)

    def _set(self, hook: str, function: Callable[..., object] | None) -> None:
        if function is None:
            vars(self._functions).pop(hook, None)
        elif callable(function):
            setattr(self._functions, hook, function)
        else:
            raise TypeError(f"{hook} takes a function, or None to take it off, not {function!r}")

    def tell(self, hook: str, *factories: Callable[[], object]) -> None:
        """Call one hook of all who have it, each with arguments that are made for it alone; log what they raise."""
        for callback in (self._functions, *self._attached, *plugins("smallab.callbacks")):
            try:
                method = getattr(callback, hook)
                if getattr(method, "__func__", None) in _NO_OPERATIONS:
                    continue
                method(*(make() for make in factories))
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001  # SystemExit too: a hook must cost no result, nor end the program
                _log.exception("the hook %s of %r raised, or reading for it did; nothing is lost", hook, callback)
