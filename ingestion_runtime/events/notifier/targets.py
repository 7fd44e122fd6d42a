"""The ways by which people are told: the event log, a command, and what apprise delivers to (webhooks, e-mail)."""

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from ingestion_runtime.events.courier import DeliveryError
from ingestion_runtime.events.event import Emitter
from ingestion_runtime.events.notifier.notice import Notice
from ingestion_runtime.events.notifier.wording import document_of, text_of, title_of
from ingestion_runtime.events.plain import to_json
from ingestion_runtime.events.types.run import Alerted, Noticed
from ingestion_runtime.model.connection import Secret
from ingestion_runtime.model.notify import Medium, NotifyTarget

_SHOWN: Final = 200  # characters of what a command said, or a library's logger
# Logged on these with the address in it; silent on our threads, whatever level an application that embeds us has set.
_TALKATIVE: Final = ("apprise", "urllib3.connectionpool")
_FILTERS: Final = threading.Lock()  # of these loggers; they are read without it, so they are replaced and never changed
_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z0-9]+)://")


class Target(Protocol):
    """Delivers messages, on a courier's thread. Raises DeliveryError when one did not get through."""

    def deliver(self, notice: Notice) -> None: ...

    def stop(self) -> None:
        """End a delivery that is under way; nobody waits for it any longer."""
        ...


class LogTarget:
    """Puts messages into the event log of the run, once that is there (``emitter``)."""

    def __init__(self) -> None:
        self.emitter: Emitter | None = None

    def deliver(self, notice: Notice) -> None:
        """Emit the message as ``alert`` or ``notice``."""
        if self.emitter is not None:
            kind = Alerted if notice.alarming else Noticed
            self.emitter.emit(kind(notice.kind, title_of(notice), text_of(notice)))

    def stop(self) -> None:
        """Nothing: an event is written at once."""


class CommandTarget:
    """Runs a program for each message, without a shell; the message is a JSON document on its standard input.

    It inherits nothing of ours that somebody may wait for: its input and its error output are files. One that does not end
    in time is killed with all that it started in its process group, and so is one that is under way when the run is over.
    """

    def __init__(self, command: tuple[str, ...], timeout_seconds: float) -> None:
        self._command = command
        self._timeout = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def deliver(self, notice: Notice) -> None:
        """Run the command and wait for its end."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(f"{to_json(document_of(notice))}\n".encode())
            given.seek(0)
            process = self._start(given, said)
            if process is None:
                return
            try:
                code = process.wait(self._timeout)
            except subprocess.TimeoutExpired:
                self._kill(process)
                raise DeliveryError(f"the command did not end within {self._timeout:g} s and was killed") from None
            if code:
                said.seek(0)
                complaint = _one_line(said.read(4096).decode(errors="replace"))
                raise DeliveryError(f"the command ended with {code}{': ' if complaint else ''}{complaint}")

    def stop(self) -> None:
        """Kill a command that is under way, and start none any more."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is not None and process.poll() is None:
            self._kill(process)

    def _start(self, given: Any, said: Any) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            if self._stopped:
                return None
            try:
                self._process = subprocess.Popen(
                    self._command, stdin=given, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
                )
            except OSError as error:
                raise DeliveryError(f"the command {self._command[0]!r} cannot be run: {error.strerror}") from None
            return self._process

    @staticmethod
    def _kill(process: "subprocess.Popen[bytes]") -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class AppriseTarget:
    """Delivers through apprise: a webhook, a mail server, or any other service that it knows by a URL.

    The URL is read when the first message goes out and shown nowhere: what apprise says of a failure is shown without
    every piece of it. Sent is the text, and to a plain webhook the JSON document as well, as ``notice``.
    """

    def __init__(self, url: Secret, timeout_seconds: float) -> None:
        self._url = url
        self._timeout = timeout_seconds
        self._service: Any = None
        self._extras: Mapping[str, object] | None = None  # of a plain webhook: what its URL adds to the document
        self._pieces: tuple[str, ...] = ()

    def deliver(self, notice: Notice) -> None:
        """Send the message; a reference that cannot be read raises ConfigError."""
        with _overheard() as said:
            try:
                sent = self._send(notice)
            except ImportError as error:
                raise DeliveryError(f"a library is missing: {error.name}") from None
            if not sent:
                raise DeliveryError(self._redacted(_one_line(said[-1] if said else "it was refused")))

    def stop(self) -> None:
        """Nothing: sockets have time limits, and the thread is a daemon."""

    def _send(self, notice: Notice) -> bool:
        from apprise import NotifyFormat, NotifyType

        if self._service is None:
            self._service = self._open()
        service = self._service
        if self._extras is not None:
            service.payload_extras = {**self._extras, "notice": json.loads(to_json(document_of(notice)))}
        kind = NotifyType.FAILURE if notice.alarming else NotifyType.INFO
        sent = service.notify(body=text_of(notice), title=title_of(notice), notify_type=kind, body_format=NotifyFormat.TEXT)
        return bool(sent)

    def _open(self) -> Any:
        url = self._url.resolve()
        self._pieces = tuple(_secret_pieces(url))
        service = _open_service(url)
        if service is None:
            raise DeliveryError("the address is none that apprise understands")
        # apprise waits 5.5 s between two mails by itself: the last one of a run would never leave in time.
        service.request_rate_per_sec = 0
        service.socket_connect_timeout = service.socket_read_timeout = self._timeout
        if service.protocol == "json":
            self._extras = dict(service.payload_extras)
        return service

    def _redacted(self, text: str) -> str:
        for piece in self._pieces:
            text = text.replace(piece, "***")
        return text


def build_target(spec: NotifyTarget) -> Target:
    """Return what delivers to a target; nothing is connected yet."""
    if spec.medium is Medium.LOG:
        return LogTarget()
    if spec.medium is Medium.COMMAND:
        return CommandTarget(spec.command, spec.timeout_seconds)
    if spec.url is None:
        raise ValueError(f"{spec.name} has no address")
    return AppriseTarget(spec.url, spec.timeout_seconds)


def _open_service(url: str) -> Any:
    """Return apprise's service for a URL, None when there is none.

    A plain webhook and a mail server are opened by their own modules: apprise's registry imports all of its 150, which
    takes 0.6 s of processor time, and the end of a short run would wait for it.
    """
    found = _SCHEME.match(url)
    scheme = found["scheme"].lower() if found else ""
    if scheme in ("mailto", "mailtos"):
        from apprise.plugins.email.base import NotifyEmail

        return _build(NotifyEmail, url)
    if scheme == "https":
        # The address that Slack and others hand out is understood as theirs; any other gets JSON.
        from apprise import Apprise

        service = Apprise.instantiate(url)
        if service is not None:
            return service
    if scheme in ("http", "https", "json", "jsons"):
        from apprise.plugins.custom_json import NotifyJSON

        return _build(NotifyJSON, re.sub(r"^http(s?):", r"json\1:", url, count=1, flags=re.IGNORECASE))
    from apprise import Apprise

    return Apprise.instantiate(url)


def _build(kind: Any, url: str) -> Any:
    # As apprise's registry does it; what a constructor raises repeats the address.
    try:
        parsed = kind.parse_url(url)
        return kind(**parsed) if parsed else None
    except Exception:  # noqa: BLE001  said without its text: the address is wrong
        return None


def _secret_pieces(url: str) -> Iterator[str]:
    """Yield all that is particular to a URL, as written and decoded, the longest first."""
    pieces = {url}
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        pieces |= {parts.netloc, parts.path, parts.query, parts.hostname or "", parts.username or "", parts.password or ""}
        pieces |= {*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))}
    shown = pieces | {unquote(piece) for piece in pieces}
    return iter(sorted((piece for piece in shown if len(piece) > 1), key=len, reverse=True))


def _one_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return "".join(sign if sign.isprintable() else " " for sign in line)[:_SHOWN]


@contextlib.contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collect what apprise says on this thread, and keep it and its like from every other log."""
    said: list[str] = []
    mine = threading.get_ident()

    def listen(record: logging.LogRecord) -> bool:
        if record.thread != mine:
            return True
        if record.levelno >= logging.WARNING:
            said.append(record.getMessage())
        return False

    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    with _FILTERS:
        for logger in loggers:
            logger.filters = [*logger.filters, listen]
    try:
        yield said
    finally:
        with _FILTERS:
            for logger in loggers:
                logger.filters = [kept for kept in logger.filters if kept is not listen]
