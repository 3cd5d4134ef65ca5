"""Hooks: what a batch tells while it runs. They are called in the thread that called ``run``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

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


_NO_OPS = [method for name, method in vars(CallbackManager).items() if name.startswith("on_")]


def checked_callbacks(callbacks: Iterable[CallbackManager]) -> list[CallbackManager]:
    """Return callbacks as a list; TypeError where that is not what they are."""
    if isinstance(callbacks, CallbackManager) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks are a list: [{callbacks!r}]")
    checked = list(callbacks)
    for callback in checked:
        if not isinstance(callback, CallbackManager):
            raise TypeError(f"{callback!r} is not an object of a subclass of CallbackManager")
    return checked


def emit(callbacks: Iterable[CallbackManager], hook: str, arguments: Callable[[], tuple[object, ...]]) -> None:
    """Call one hook of every callback that has it, each with arguments of its own; log what they raise."""
    for callback in callbacks:
        if getattr(getattr(callback, hook), "__func__", None) not in _NO_OPS:
            try:
                getattr(callback, hook)(*arguments())
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001  # a broken hook must not cost a result, nor change a status
                _log.exception("the hook %s of %r raised; the results are safe", hook, callback)
