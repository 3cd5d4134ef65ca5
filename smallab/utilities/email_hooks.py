"""Mails about a batch: callbacks for ``runner.attach_callbacks``, and functions for the runner's setters.

What a hook raises is logged by the runner, so a mail server that is down costs the mail and nothing else. Every mail
is a connection of its own: the callbacks hold none, and can be copied and pickled.
"""

from __future__ import annotations

import logging
import os
import re
import reprlib
import smtplib
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from email.utils import getaddresses, localtime, make_msgid
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from smallab.callbacks import CallbackManager
from smallab.observation import SpecificationFailed
from smallab.specification import Specification, canonical
from smallab.storage.base import open_storage
from smallab.storage.exceptions import failure_of
from smallab.storage.presence import HOST

_log = logging.getLogger("smallab")

PAUSE_SECONDS = 60.0  # between two tries, for specifications' mails: a server that hangs must not hold up a batch
LISTED = 20  # a batch of 100,000 is still one short mail
LINE_LENGTH = 300
SUBJECT_LENGTH = 150
RESULT_LENGTH = 2000
TRACEBACK_LENGTH = 5000
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

Tls = Literal["starttls", "implicit"]
_Callback = TypeVar("_Callback", bound=CallbackManager)


class MailOptions(TypedDict, total=False):
    """The keywords that `EmailCallbackBatchOnly` describes, for the functions below."""

    host: str
    sender: str | None
    tls: Tls | None
    ca_file: str | os.PathLike[str] | None
    username: str | None
    password: str | None
    timeout: float
    folder: str | os.PathLike[str] | None


@dataclass(frozen=True)
class _Server:
    """A mail server and how to talk to it."""

    host: str
    port: int
    tls: Tls | None
    ca_file: str | os.PathLike[str] | None
    username: str | None
    password: str | None = field(repr=False)
    timeout: float

    def __post_init__(self) -> None:
        if self.tls not in ("starttls", "implicit", None):
            raise ValueError(f'tls is "starttls", "implicit" or None, not {self.tls!r}')
        if (self.username is None) != (self.password is None):
            raise ValueError("a login needs both username and password")
        if self.username is not None and self.tls is None and self.host not in _THIS_MACHINE:
            raise ValueError(
                f"the password for {self.host} would cross the network unencrypted; "
                'pass tls="starttls" (usually port 587) or tls="implicit" (usually port 465)'
            )

    def send(self, message: EmailMessage) -> None:
        """Connect, deliver one mail, and hang up."""
        with self._connect() as connection:
            if self.tls == "starttls":
                connection.starttls(context=self._context())
            if self.username is not None and self.password is not None:
                connection.login(self.username, self.password)
            refused = connection.send_message(message)
        if refused:  # smtplib raises by itself only where every recipient was refused
            raise smtplib.SMTPRecipientsRefused(refused)

    def _connect(self) -> smtplib.SMTP:
        if self.tls == "implicit":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout, context=self._context())
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout)

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)  # made anew: a context can be neither copied nor pickled


class EmailCallbackBatchOnly(CallbackManager):
    """Sends a mail when a batch ended: one about what completed, and one about what failed.

    Parameters
    ----------
    address
        Who gets the mails; several are separated by commas.
    port
        The mail server's port: usually 25 without TLS, 587 with "starttls", 465 with "implicit".
    host
        The mail server.
    sender
        Who the mails are from; where None, the first of ``address``.
    tls
        "starttls" (encrypts after connecting), "implicit" (from the first byte), or None. The certificate is checked.
    ca_file
        A file with the certificates to trust (PEM), where the server's is not signed by one of the system's.
    username, password
        For the login; refused without TLS unless the server is on this machine.
    timeout
        Seconds to wait for the server each time it is to answer.
    folder
        The folder that holds the batches, as for the runner: SMALLAB_ROOT or ``experiment_runs`` where None. The
        batch's folder is named in the mails where it is found there.

    Raises
    ------
    ValueError
        An address, ``tls`` or the login cannot be used as given. The server is not asked yet.

    Examples
    --------
    >>> from smallab import ExperimentRunner
    >>> callback = EmailCallbackBatchOnly("ada@example.com", 587, "mail.example.com", tls="starttls")
    >>> runner = ExperimentRunner(callbacks=[callback])
    """

    def __init__(
        self,
        address: str,
        port: int,
        host: str = "localhost",
        *,
        sender: str | None = None,
        tls: Tls | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 10.0,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self._address = address
        self._sender = _addresses(address)[0] if sender is None else sender
        self._domain = _addresses(self._sender)[0].partition("@")[2] or HOST
        self._server = _Server(host, port, tls, ca_file, username, password, timeout)
        self._folder = folder
        self._completed, self._failed = 0, 0
        self._started: float | None = None

    def set_experiment_name(self, name: str) -> None:
        """Take the batch's name, and start counting."""
        super().set_experiment_name(name)
        self._completed, self._failed = 0, 0
        self._started = time.time()

    def on_specification_failure(self, exception: BaseException, specification: Specification) -> None:  # noqa: ARG002  # the hook's signature
        """Count, so that the mail about what completed tells of failures too."""
        self._failed += 1

    def on_batch_complete(self, specifications: list[Specification]) -> None:
        """Mail how many specifications completed, and the first of them."""
        self._completed = len(specifications)
        news = f"{self._completed} completed" + (f" ({self._failed} failed)" if self._failed else "")
        self._send(news, _listing("Completed", map(_json, specifications[:LISTED]), len(specifications)))

    def on_batch_failure(self, exceptions: list[BaseException], specifications: list[Specification]) -> None:
        """Mail how many specifications failed, and why."""
        self._failed = len(specifications)
        news = f"{self._failed} failed" + (f" ({self._completed} completed)" if self._completed else "")
        self._send(news, _failures(exceptions, specifications))

    def _send(self, news: str, body: str) -> None:
        headline = f"{self.experiment_name or 'a batch'}: {news}"
        message = EmailMessage()
        message["Subject"] = _subject(f"[smallab] {headline}")
        message["From"] = self._sender
        message["To"] = self._address
        message["Date"] = localtime()
        message["Message-ID"] = make_msgid(domain=self._domain)  # else it asks the network for this machine's name
        message["Auto-Submitted"] = "auto-generated"  # nobody's holiday note is to answer
        message.set_content(_UNPRINTABLE.sub("?", f"{_line(headline)}\n\n{self._place()}\n\n{body}\n"))
        self._server.send(message)

    def _place(self) -> str:
        lines = [f"Host: {HOST} (process {os.getpid()})"]
        with suppress(ValueError):  # a name that no runner would take, so there is no folder
            folder = Path(open_storage(self._folder, self.experiment_name).folder)
            lines += [f"Folder: {folder}"] if folder.is_dir() else []
        if self._started is not None:
            lines.append(f"Time since it started: {timedelta(seconds=max(0, round(time.time() - self._started)))}")
        return "\n".join(lines)


class EmailCallback(EmailCallbackBatchOnly):
    """Sends a mail for every specification that completed or failed, and those about the batch.

    After a mail about a specification could not be sent, no other is tried for a minute; the batch's always are.
    For batches of more than a few specifications, `EmailCallbackBatchOnly` is the kinder one. It describes the
    parameters.

    Examples
    --------
    >>> from smallab import ExperimentRunner
    >>> runner = ExperimentRunner()
    >>> runner.attach_callbacks([EmailCallback("ada@example.com", 25)])
    """

    _paused_until = 0.0

    def on_specification_complete(self, specification: Specification, result: Any) -> None:
        """Mail that a specification completed, and the beginning of its result."""
        text = _json(specification)
        self._send_unless_paused(f"completed: {text}", lambda: f"Specification: {text}\nResult: {_brief(result)}")

    def on_specification_failure(self, exception: BaseException, specification: Specification) -> None:
        """Mail that a specification failed, and its traceback."""
        super().on_specification_failure(exception, specification)
        failure, text = failure_of(exception), _json(specification)
        body = f"Specification: {text}\nFailure: {_line(str(failure))}\n\n{_end(failure.traceback)}"
        self._send_unless_paused(f"failed: {failure}", lambda: body)

    def _send_unless_paused(self, news: str, body: Callable[[], str]) -> None:
        if time.time() < self._paused_until:
            return
        try:
            self._send(news, body())
        except OSError:  # smtplib's errors are, too; the runner logs it as this hook's failure
            self._paused_until = time.time() + PAUSE_SECONDS
            _log.warning("no mails about single specifications for the next %d seconds", PAUSE_SECONDS)
            raise


def email_on_batch_sucesss(
    email_address: str, smtp_port: int, name: str = "", **options: Unpack[MailOptions]
) -> Callable[[list[Specification]], None]:
    """Return a function for ``runner.on_batch_complete`` that mails how many specifications completed.

    Parameters
    ----------
    email_address, smtp_port
        Who gets the mail, and the mail server's port.
    name
        What the mail calls the batch: a function is not told it.
    options
        The keywords of `EmailCallbackBatchOnly`.

    Returns
    -------
    Callable
        The hook.

    Raises
    ------
    ValueError
        An address, ``tls`` or the login cannot be used as given.

    Examples
    --------
    >>> from smallab import ExperimentRunner
    >>> runner = ExperimentRunner()
    >>> runner.on_batch_complete(email_on_batch_sucesss("test@example.com", smtp_port=1025))
    >>> runner.on_batch_complete(None)
    """
    return _named(EmailCallbackBatchOnly(email_address, smtp_port, **options), name).on_batch_complete


def email_on_batch_failure(
    email_address: str, smtp_port: int, name: str = "", **options: Unpack[MailOptions]
) -> Callable[[list[BaseException], list[Specification]], None]:
    """Return a function for ``runner.on_batch_failure`` that mails what failed; as `email_on_batch_sucesss`.

    Examples
    --------
    >>> from smallab import ExperimentRunner
    >>> runner = ExperimentRunner()
    >>> runner.on_batch_failure(email_on_batch_failure("test@example.com", smtp_port=1025, name="squares"))
    """
    return _named(EmailCallbackBatchOnly(email_address, smtp_port, **options), name).on_batch_failure


def email_on_specification_success(
    email_address: str, smtp_port: int, name: str = "", **options: Unpack[MailOptions]
) -> Callable[[Specification, Any], None]:
    """Return a function for ``runner.on_specification_complete`` that mails each; as `email_on_batch_sucesss`.

    Examples
    --------
    >>> from smallab import ExperimentRunner
    >>> runner = ExperimentRunner()
    >>> runner.on_specification_complete(email_on_specification_success("test@example.com", smtp_port=1025))
    """
    return _named(EmailCallback(email_address, smtp_port, **options), name).on_specification_complete


def email_on_specification_failure(
    email_address: str, smtp_port: int, name: str = "", **options: Unpack[MailOptions]
) -> Callable[[BaseException, Specification], None]:
    """Return a function for ``runner.on_specification_failure`` that mails each; as `email_on_batch_sucesss`.

    Examples
    --------
    >>> from smallab import ExperimentRunner
    >>> runner = ExperimentRunner()
    >>> runner.on_specification_failure(email_on_specification_failure("test@example.com", smtp_port=1025))
    """
    return _named(EmailCallback(email_address, smtp_port, **options), name).on_specification_failure


def _named(callback: _Callback, name: str) -> _Callback:
    callback.experiment_name = name
    return callback


def _addresses(text: str) -> list[str]:
    """Return the mail addresses in a text; raise ValueError where there is none, or one that no header may hold."""
    found = [address for _, address in getaddresses([text])]
    if not all(found) or not found or not text.isprintable():
        raise ValueError(f"{text!r} is not a mail address (several are separated by commas)")
    return found


def _kind(exception: BaseException) -> str:
    return exception.failure.type if isinstance(exception, SpecificationFailed) else type(exception).__qualname__


def _failures(exceptions: Sequence[BaseException], specifications: Sequence[Specification]) -> str:
    """Describe what failed: how often each type, the first of them, and one traceback."""
    kinds = Counter(map(_kind, exceptions)).most_common()
    failures = [failure_of(exception) for exception in exceptions[:LISTED]]
    lines = [
        f"{_json(item)}\n    {_line(str(failure))}" for item, failure in zip(specifications, failures, strict=False)
    ]
    parts = [
        _listing("By type", (f"{count} x {kind}" for kind, count in kinds[:LISTED]), len(kinds)),
        _listing("Failed", lines, len(specifications)),
    ]
    return "\n\n".join([*parts, *(f"The first failure's traceback:\n\n{_end(f.traceback)}" for f in failures[:1])])


def _listing(title: str, lines: Iterable[str], count: int) -> str:
    more = [f"... and {count - LISTED} more"] if count > LISTED else []
    return "\n".join([f"{title} ({count}):", *(f"  {line}" for line in lines), *more])


def _json(specification: Specification) -> str:
    return _line(canonical(specification))


def _brief(result: object) -> str:
    """Return the beginning of a result's repr, made without going through all of a large one."""
    short = reprlib.Repr()
    short.maxdict = short.maxlist = short.maxtuple = short.maxset = LISTED
    short.maxstring = short.maxother = LINE_LENGTH
    short.maxlevel = 3
    return _line(short.repr(result), RESULT_LENGTH)


def _subject(text: str) -> str:
    """Return a text as a subject; "=?" would be taken for encoded text, which could hold a line's end."""
    return _line(text, SUBJECT_LENGTH).replace("=?", "= ?")


def _line(text: str, length: int = LINE_LENGTH) -> str:
    """Return a text as one line that any header may hold, cut where it is too long."""
    text = _UNPRINTABLE.sub("?", " ".join(text.split()))
    return text if len(text) <= length else text[: length - 3] + "..."


def _end(text: str) -> str:
    """Return a traceback, or its end, which says most, where it is too long."""
    return text if len(text) <= TRACEBACK_LENGTH else "..." + text[-TRACEBACK_LENGTH:]
