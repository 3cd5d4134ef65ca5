"""Mails about batches, received by a real SMTP server."""

import copy
import email
import email.policy
import logging
import pickle
import shutil
import smtplib
import socket
import ssl
import subprocess
from contextlib import contextmanager

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from hypothesis import given, settings
from hypothesis import strategies as st

from smallab import Experiment, ExperimentRunner, Failure, SpecificationFailed
from smallab.utilities import email_hooks
from smallab.utilities.email_hooks import (
    EmailCallback,
    EmailCallbackBatchOnly,
    email_on_batch_failure,
    email_on_batch_sucesss,
    email_on_specification_failure,
    email_on_specification_success,
)

ADDRESS = "ada@example.com"
HEADERS = {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted"}
HEADERS_OF_TRANSPORT = {"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "X-Peer", "X-MailFrom", "X-RcptTo"}


class SquareRoot(Experiment):
    def main(self, specification):
        if specification["x"] < 0:
            raise ValueError(f"{specification['x']} is negative")
        return {"root": specification["x"] ** 0.5}


class Server(Controller):
    """Listens on a port that the system picks, and keeps what arrives."""

    def __init__(self, **options):
        super().__init__(self, hostname="127.0.0.1", port=0, **options)
        self.mails = []
        self.recipients = []
        self.encrypted = []

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  # aiosmtpd's name for it
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.recipients.append(envelope.rcpt_tos)
        self.encrypted.append(session.ssl is not None or self.ssl_context is not None)
        return "250 OK"

    @property
    def subjects(self):
        return [str(mail["Subject"]) for mail in self.mails]

    @property
    def bodies(self):
        return [mail.get_content().replace("\r\n", "\n") for mail in self.mails]


@contextmanager
def running_server(**options):
    server = Server(**options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def port_of_nobody():
    with socket.socket() as listener:  # bound, not listening: nobody else gets it, and connecting is refused
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The files of a certificate for localhost and its key, good for this test run."""
    if shutil.which("openssl") is None:
        pytest.skip("the command openssl, which makes the test's certificate, is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    files = str(folder / "certificate.pem"), str(folder / "key.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    usage = "keyUsage=critical,digitalSignature,keyCertSign"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *key, "-subj", "/CN=localhost", "-addext", names, "-addext", usage]
    subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


@pytest.fixture
def server_tls(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"ada", b"engine"), handled=False)


def run(runner, *xs, name="roots"):
    return runner.run(name, [{"x": x} for x in xs], SquareRoot(), show_progress=False)


def test_a_mail_for_every_specification_and_for_the_batch(server):
    runner = ExperimentRunner(callbacks=[EmailCallback(ADDRESS, server.port)])
    run(runner, 4, -1)
    assert server.subjects == [
        '[smallab] roots: completed: {"x":4}',
        "[smallab] roots: failed: ValueError: -1 is negative",
        "[smallab] roots: 1 completed (1 failed)",
        "[smallab] roots: 1 failed (1 completed)",
    ]
    assert server.recipients == [[ADDRESS]] * 4
    assert "Result: {'root': 2.0}" in server.bodies[0]
    assert 'Specification: {"x":-1}' in server.bodies[1]
    assert 'raise ValueError(f"{' in server.bodies[1]  # the worker's traceback


def test_a_batch_only_callback_sends_the_batchs_mails_alone(server):
    runner = ExperimentRunner(callbacks=[EmailCallbackBatchOnly(ADDRESS, server.port)])
    run(runner, 4, 9, -1)
    assert server.subjects == ["[smallab] roots: 2 completed (1 failed)", "[smallab] roots: 1 failed (2 completed)"]


def test_a_batch_mail_says_what_one_wants_to_know_at_midnight(server):
    runner = ExperimentRunner(callbacks=[EmailCallbackBatchOnly(ADDRESS, server.port)])
    run(runner, 4, -1, -2)
    completed, failed = server.bodies
    for body in completed, failed:
        assert f"Folder: {runner.get_save_directory('roots')}\n" in body
        assert "Host: " in body
        assert "Time since it started: 0:00:" in body
    assert 'Completed (1):\n  {"x":4}\n' in completed
    assert "2 x ValueError" in failed
    assert '  {"x":-1}\n    ValueError: -1 is negative\n  {"x":-2}\n    ValueError: -2 is negative\n' in failed
    assert "Traceback (most recent call last)" in failed


def test_counts_start_anew_with_every_run(server):
    runner = ExperimentRunner(callbacks=[EmailCallbackBatchOnly(ADDRESS, server.port)])
    run(runner, -1)
    run(runner, 4)
    assert server.subjects == ["[smallab] roots: 1 failed", "[smallab] roots: 1 completed"]


def test_no_mail_when_there_was_nothing_to_do(server):
    run(ExperimentRunner(), 4)
    run(ExperimentRunner(callbacks=[EmailCallback(ADDRESS, server.port)]), 4)
    assert server.mails == []


def test_the_folder_is_named_only_where_it_is(server, tmp_path):
    runner = ExperimentRunner(tmp_path / "elsewhere")
    options = [{}, {"folder": tmp_path / "elsewhere"}]
    runner.attach_callbacks([EmailCallbackBatchOnly(ADDRESS, server.port, **option) for option in options])
    run(runner, 4)
    assert "Folder:" not in server.bodies[0]
    assert f"Folder: {tmp_path / 'elsewhere' / 'roots'}\n" in server.bodies[1]


def test_the_headers_are_those_of_an_automatic_mail(server):
    callback = EmailCallbackBatchOnly("Ada <ada@example.com>, bob@example.com", server.port, sender="lab@example.org")
    callback.on_batch_complete([{"x": 4}])
    [mail] = server.mails
    assert server.recipients == [["ada@example.com", "bob@example.com"]]
    assert mail["From"] == "lab@example.org"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["Date"].datetime.tzinfo is not None


def test_the_functions_of_seed_001_go_on_and_off(server):
    runner = ExperimentRunner()
    runner.on_batch_complete(email_on_batch_sucesss(ADDRESS, smtp_port=server.port))
    runner.on_batch_complete(None)
    run(runner, 4)
    assert server.mails == []
    runner.on_batch_complete(email_on_batch_sucesss(ADDRESS, smtp_port=server.port))
    run(runner, 9)
    assert server.subjects == ["[smallab] a batch: 1 completed"]


def test_the_callback_of_seed_000_goes_on_and_off(server):
    runner = ExperimentRunner()
    runner.attach_callbacks([EmailCallbackBatchOnly(ADDRESS, server.port)])
    run(runner, 4)
    runner.attach_callbacks([])
    run(runner, 9)
    assert server.subjects == ["[smallab] roots: 1 completed"]


def test_each_function_mails_at_its_own_hook(server):
    runner = ExperimentRunner()
    runner.on_specification_complete(email_on_specification_success(ADDRESS, server.port, name="mine"))
    runner.on_specification_failure(email_on_specification_failure(ADDRESS, server.port))
    runner.on_batch_complete(email_on_batch_sucesss(ADDRESS, server.port, name="mine"))
    runner.on_batch_failure(email_on_batch_failure(ADDRESS, server.port, host="127.0.0.1"))
    run(runner, 4, -1, name="mine")
    assert server.subjects == [
        '[smallab] mine: completed: {"x":4}',
        "[smallab] a batch: failed: ValueError: -1 is negative",
        "[smallab] mine: 1 completed",
        "[smallab] a batch: 1 failed",
    ]


def test_a_huge_batch_makes_a_small_mail(server):
    callback = EmailCallbackBatchOnly(ADDRESS, server.port)
    specifications = [{"x": x, "text": "long" * 1000} for x in range(20_000)]
    loud = "loud" * 10_000
    callback.on_batch_complete(specifications)
    callback.on_batch_failure([ValueError(loud) for _ in specifications], specifications)
    assert [subject.split()[3] for subject in server.subjects] == ["20000", "20000"]
    for body in server.bodies:
        assert "... and 19980 more" in body
        assert len(body) < 25_000


def test_a_huge_result_makes_a_small_mail(server):
    EmailCallback(ADDRESS, server.port).on_specification_complete({"x": 1}, {"weights": ["w" * 1000] * 100_000})
    assert "Result: {'weights': ['www" in server.bodies[0]
    assert len(server.bodies[0]) < 3000


def test_a_failure_that_was_not_picklable_is_told_as_what_it_was(server):
    error = SpecificationFailed(Failure("torch.OutOfMemoryError", "no memory", "the traceback"))
    EmailCallback(ADDRESS, server.port).on_specification_failure(error, {"x": 1})
    EmailCallbackBatchOnly(ADDRESS, server.port).on_batch_failure([error], [{"x": 1}])
    assert server.subjects[0] == "[smallab] a batch: failed: torch.OutOfMemoryError: no memory"
    assert server.bodies[0].endswith("the traceback\n")
    assert "1 x torch.OutOfMemoryError" in server.bodies[1]


def assert_only_our_headers(server):
    for mail, recipients in zip(server.mails, server.recipients, strict=True):
        assert set(mail.keys()) - HEADERS_OF_TRANSPORT == HEADERS
        assert len(mail.keys()) == len(set(mail.keys()))
        assert mail["To"] == ADDRESS
        assert recipients == [ADDRESS]


@pytest.mark.parametrize(
    "name",
    [
        "evil\r\nBcc: eve@example.com",
        "evil\nBcc: eve@example.com\n\nanother body",
        "evil\u2028Bcc: eve@example.com\x85\x0bX: y",
        "=?utf-8?q?evil=0D=0ABcc:_eve@example.com?=",
        "=\0utf-8\0q\0evil=0D=0ABcc:_eve@example.com\0=",
        "nul\0and\ud800surrogate",
        "Grüße 測試 " * 100,
        "x" * 5000,
    ],
)
def test_no_name_or_message_can_add_a_header(server, name):
    callback = EmailCallback(ADDRESS, server.port)
    callback.set_experiment_name(name)
    callback.on_batch_complete([{name.replace("\ud800", ""): 1}])
    callback.on_specification_failure(ValueError(name), {"x": 1})
    assert len(server.mails) == 2
    assert_only_our_headers(server)


def test_whatever_the_name_and_the_failure_are_a_mail_with_our_headers_arrives():
    with running_server() as server:

        @settings(max_examples=40, deadline=None)
        @given(st.text(alphabet=st.characters()), st.text(alphabet="=?utf-8qb \r\n\0:_0AD"))
        def arrives(name, message):
            server.mails.clear()
            server.recipients.clear()
            callback = EmailCallback(ADDRESS, server.port)
            callback.set_experiment_name(name)
            callback.on_specification_failure(ValueError(message), {"x": 1})
            callback.set_experiment_name(message)
            callback.on_batch_failure([ValueError(name)], [{"x": 1}])
            assert len(server.mails) == 2
            assert_only_our_headers(server)

        arrives()


def test_a_name_that_is_not_ascii_arrives_as_it_is(server):
    callback = EmailCallbackBatchOnly(ADDRESS, server.port)
    callback.set_experiment_name("größe 測試")
    callback.on_batch_complete([{"Größe": "測試"}])
    assert server.subjects == ["[smallab] größe 測試: 1 completed"]
    assert '{"Größe":"測試"}' in server.bodies[0]


@pytest.mark.parametrize("address", ["", " ", "ada@example.com\r\nBcc: eve@example.com", "a\0b@example.com"])
def test_an_address_that_no_header_may_hold_is_refused_at_once(address):
    with pytest.raises(ValueError, match="is not a mail address"):
        EmailCallback(address, 25)
    with pytest.raises(ValueError, match="is not a mail address"):
        email_on_batch_failure(ADDRESS, 25, sender=address)


def test_options_that_do_not_fit_are_refused_at_once():
    with pytest.raises(ValueError, match='tls is "starttls", "implicit" or None'):
        EmailCallback(ADDRESS, 25, tls="tls")
    with pytest.raises(ValueError, match="both username and password"):
        EmailCallback(ADDRESS, 25, tls="starttls", username="ada")
    with pytest.raises(ValueError, match=r'unencrypted; pass tls="starttls"'):
        EmailCallback(ADDRESS, 25, "mail.example.com", username="ada", password="engine")


def test_starttls_and_login(server_tls, certificate):
    login = {"username": "ada", "password": "engine"}
    with running_server(tls_context=server_tls, authenticator=authenticate, auth_required=True) as server:
        callback = EmailCallbackBatchOnly(ADDRESS, server.port, tls="starttls", ca_file=certificate[0], **login)
        run(ExperimentRunner(callbacks=[callback]), 4)
    assert server.subjects == ["[smallab] roots: 1 completed"]
    assert server.encrypted == [True]


def test_implicit_tls(server_tls, certificate):
    with running_server(ssl_context=server_tls) as server:
        hook = email_on_batch_sucesss(ADDRESS, server.port, tls="implicit", ca_file=certificate[0])
        hook([{"x": 4}])
    assert server.subjects == ["[smallab] a batch: 1 completed"]
    assert server.encrypted == [True]


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")  # aiosmtpd is right to
def test_login_without_tls_on_this_machine():
    with running_server(authenticator=authenticate, auth_required=True, auth_require_tls=False) as server:
        hook = email_on_batch_sucesss(ADDRESS, server.port, username="ada", password="engine")
        hook([{"x": 4}])
    assert len(server.mails) == 1


@pytest.mark.parametrize(("tls", "context"), [("starttls", "tls_context"), ("implicit", "ssl_context")])
def test_a_certificate_that_is_not_trusted_gets_no_mail_and_no_password(server_tls, tls, context):
    with running_server(**{context: server_tls}) as server:
        callback = EmailCallbackBatchOnly(ADDRESS, server.port, tls=tls, username="ada", password="engine")
        with pytest.raises(ssl.SSLCertVerificationError):
            callback.on_batch_complete([{"x": 4}])
    assert server.mails == []


def test_a_server_without_starttls_gets_no_mail(server):
    callback = EmailCallbackBatchOnly(ADDRESS, server.port, tls="starttls")
    with pytest.raises(smtplib.SMTPNotSupportedError):
        callback.on_batch_complete([{"x": 4}])
    assert server.mails == []


def test_a_wrong_password_is_an_error_that_does_not_show_it(server_tls, certificate):
    login = {"username": "ada", "password": "difference"}
    with running_server(tls_context=server_tls, authenticator=authenticate) as server:
        callback = EmailCallbackBatchOnly(ADDRESS, server.port, tls="starttls", ca_file=certificate[0], **login)
        with pytest.raises(smtplib.SMTPAuthenticationError) as raised:
            callback.on_batch_complete([{"x": 4}])
    assert "difference" not in f"{raised.value} {callback!r} {callback._server!r}"


def hook_failures(caplog):
    return [record for record in caplog.records if record.exc_info and "the hook" in record.message]


def test_a_server_that_is_down_costs_mails_and_nothing_else(port_of_nobody, caplog):
    runner = ExperimentRunner(callbacks=[EmailCallbackBatchOnly(ADDRESS, port_of_nobody)])
    result = run(runner, 4, 9, -1)
    assert len(result.completed) == 2
    assert len(result.failed) == 1
    assert [record.exc_info[0] for record in hook_failures(caplog)] == [ConnectionRefusedError] * 2
    assert len(run(ExperimentRunner(), 4, 9).skipped) == 2


def test_a_server_that_hangs_is_left_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, and never says a word
        callback = EmailCallbackBatchOnly(ADDRESS, listener.getsockname()[1], "127.0.0.1", timeout=0.1)
        with pytest.raises(OSError, match="timed out"):
            callback.on_batch_complete([{"x": 4}])


def test_a_server_that_is_down_is_not_tried_again_for_every_specification(port_of_nobody, caplog, monkeypatch):
    runner = ExperimentRunner(callbacks=[EmailCallback(ADDRESS, port_of_nobody)])
    assert len(run(runner, 1, 2, 3, 4, 5).completed) == 5
    assert len(hook_failures(caplog)) == 2  # the first specification's mail, and the batch's
    assert "no mails about single specifications" in caplog.text
    caplog.clear()
    monkeypatch.setattr(email_hooks, "PAUSE_SECONDS", -1.0)  # over at once
    callback = EmailCallback(ADDRESS, port_of_nobody)
    runner.attach_callbacks([callback])
    assert len(run(runner, 6, 7).completed) == 2
    assert len(hook_failures(caplog)) == 3


def test_mails_go_out_again_after_the_pause(port_of_nobody, server, monkeypatch):
    monkeypatch.setattr(email_hooks, "PAUSE_SECONDS", -1.0)
    callback = EmailCallback(ADDRESS, server.port)
    working = callback._server
    callback._server = EmailCallback(ADDRESS, port_of_nobody)._server
    with pytest.raises(ConnectionRefusedError):
        callback.on_specification_complete({"x": 1}, None)
    callback._server = working
    callback.on_specification_complete({"x": 2}, None)
    assert server.subjects == ['[smallab] a batch: completed: {"x":2}']


def test_one_recipient_of_two_that_is_refused_is_told(caplog):
    class Picky(Server):
        async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802  # aiosmtpd's name for it
            if address.startswith("bob"):
                return "550 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

    server = Picky()
    server.start()
    try:
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="bob"):
            EmailCallbackBatchOnly("ada@example.com, bob@example.com", server.port).on_batch_complete([{"x": 1}])
    finally:
        server.stop()
    assert server.recipients == [["ada@example.com"]]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_hooks_can_be_copied_and_pickled_also_after_use(server, copied):
    callback = EmailCallback(ADDRESS, server.port)
    callback.set_experiment_name("roots")
    callback.on_batch_complete([{"x": 1}])
    copied(callback).on_batch_complete([{"x": 2}])
    copied(email_on_batch_sucesss(ADDRESS, server.port))([{"x": 3}])
    subjects = ["[smallab] roots: 1 completed", "[smallab] roots: 1 completed", "[smallab] a batch: 1 completed"]
    assert server.subjects == subjects


def test_the_module_adds_nothing_to_the_log_by_itself(server):
    before = list(logging.getLogger().handlers), list(logging.getLogger("smallab").handlers)
    EmailCallback(ADDRESS, server.port).on_batch_complete([{"x": 1}])
    assert (list(logging.getLogger().handlers), list(logging.getLogger("smallab").handlers)) == before
