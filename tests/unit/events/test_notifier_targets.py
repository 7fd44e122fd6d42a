"""The ways by which messages leave: a command, a webhook, a mail; and what is never shown of them."""

import json
import logging
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import psutil
import pytest

from ingestion_runtime.config.secrets import SecretReference
from ingestion_runtime.events.courier import DeliveryError
from ingestion_runtime.events.notifier.notice import FailedTable, Notice, RunAbout
from ingestion_runtime.events.notifier.targets import AppriseTarget, CommandTarget
from ingestion_runtime.model.errors import ConfigError
from ingestion_runtime.model.notify import NoticeKind
from tests.servers.http import HttpServer
from tests.servers.ports import free_port
from tests.servers.smtp import SmtpServer

NOTICE = Notice(
    NoticeKind.FAILURE,
    datetime(2026, 3, 1, tzinfo=UTC),
    RunAbout("nightly", "run-1", date(2026, 3, 1), "host-1"),
    failures=(FailedTable("shop.<b>ördérs</b>", "TerminalError", "shop.<b>ördérs</b>: gone & lost."),),
)


@dataclass(frozen=True)
class Literal:
    """A secret that a test has at hand."""

    value: str

    def resolve(self) -> str:
        return self.value


def python(script: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", script, *map(str, arguments))


class TestCommand:
    def test_it_gets_the_message_as_json_on_its_standard_input(self, tmp_path: Path) -> None:
        """One document, whatever characters it holds; arguments are passed as they are, without a shell."""
        script = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
        target = tmp_path / "it is $HOME; rm *.json"
        CommandTarget(python(script, target), 30).deliver(NOTICE)
        document = json.loads(target.read_text())
        assert document["kind"] == "failure"
        assert document["failures"][0]["table"] == "shop.<b>ördérs</b>"

    def test_one_that_reads_nothing_and_writes_much_is_no_trouble(self) -> None:
        """What it prints goes nowhere."""
        CommandTarget(python("print('x' * 10_000_000)"), 30).deliver(NOTICE)

    def test_a_failure_says_how_it_ended_and_what_it_complained_of(self) -> None:
        """Its exit code and its first line, on one line."""
        with pytest.raises(DeliveryError, match=r"ended with 7: no route to\s+host$"):
            CommandTarget(
                python("import sys; print('no route to\\thost\\nmore', file=sys.stderr); sys.exit(7)"), 30
            ).deliver(NOTICE)

    @pytest.mark.parametrize("program", ["/no/such/program", "no-such-program-here", "/etc"])
    def test_one_that_cannot_be_run_is_named(self, program: str) -> None:
        with pytest.raises(DeliveryError, match=f"command '{program}' cannot be run"):
            CommandTarget((program,), 30).deliver(NOTICE)

    def test_one_that_hangs_is_killed_with_all_that_it_started(self, tmp_path: Path) -> None:
        """After its time limit; nothing is left running."""
        pids = tmp_path / "pids"
        command = ("sh", "-c", 'sleep 60 & echo $$ $! > "$0"; wait', str(pids))
        begun = time.monotonic()
        with pytest.raises(DeliveryError, match=r"did not end within 3 s and was killed"):
            CommandTarget(command, 3).deliver(NOTICE)
        assert time.monotonic() - begun < 20
        started = [int(pid) for pid in pids.read_text().split()]
        assert len(started) == 2
        # A process is there for a moment after it was told to end, for longer on a busy machine.
        assert all(ends(pid) for pid in started)

    def test_after_the_end_none_is_started(self, tmp_path: Path) -> None:
        """A message that comes too late does nothing."""
        target = CommandTarget(python("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", tmp_path / "ran"), 30)
        target.stop()
        target.deliver(NOTICE)
        assert not (tmp_path / "ran").exists()


def ends(pid: int) -> bool:
    """Whether a process is over within 10 s, or waits for its parent to hear of it."""
    until = time.monotonic() + 10
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
    return True


class TestWebhook:
    def test_it_gets_words_and_document(self) -> None:
        """A title and a text for people, the whole message for programs; what the address adds is there too."""
        with HttpServer() as server:
            target = AppriseTarget(Literal(f"{server.url}/hooks/token-1?:team=lake"), 5)
            target.deliver(NOTICE)
            target.deliver(NOTICE)
            first, second = server.wait_for(2)
        assert first.path.startswith("/hooks/token-1")
        assert first.document["title"] == "nightly: shop.<b>ördérs</b> failed"
        assert "gone & lost" in first.document["message"]
        assert (first.document["type"], first.document["team"]) == ("failure", "lake")
        assert first.document["notice"]["failures"][0]["table"] == "shop.<b>ördérs</b>"
        assert first.document == second.document

    def test_a_server_that_refuses_is_told_with_its_answer_and_without_its_address(self) -> None:
        """The status, not the token."""
        with HttpServer(500) as server, pytest.raises(DeliveryError, match="error=500") as caught:
            AppriseTarget(Literal(f"http://user-1:pw-canary@127.0.0.1:{server.port}/hooks/token-canary"), 5).deliver(NOTICE)
        assert "canary" not in str(caught.value)

    def test_a_server_that_is_not_there_is_told_without_its_address(self) -> None:
        """Not even the host: it may hold the account's name."""
        with pytest.raises(DeliveryError, match="onnection") as caught:
            AppriseTarget(Literal(f"http://127.0.0.1:{free_port()}/canary"), 5).deliver(NOTICE)
        assert "127.0.0.1" not in str(caught.value)
        assert "canary" not in str(caught.value)

    def test_one_that_hangs_is_given_up(self) -> None:
        """After its time limit."""
        with HttpServer(hangs=True) as server:
            begun = time.monotonic()
            with pytest.raises(DeliveryError):
                AppriseTarget(Literal(f"{server.url}/x"), 1).deliver(NOTICE)
            assert time.monotonic() - begun < 15

    @pytest.mark.parametrize("url", ["canary", "nothing-canary://x", "json://", "slack://canary"])
    def test_an_address_that_is_none_is_refused_without_being_shown(self, url: str) -> None:
        with pytest.raises(DeliveryError, match="none that apprise understands") as caught:
            AppriseTarget(Literal(url), 5).deliver(NOTICE)
        assert "canary" not in str(caught.value)

    def test_a_reference_that_cannot_be_read_is_told_as_the_reference(self) -> None:
        with pytest.raises(ConfigError, match=r"\$\{env:NO_SUCH_HOOK\}"):
            AppriseTarget(SecretReference("env", "NO_SUCH_HOOK", Path()), 5).deliver(NOTICE)

    def test_no_log_of_an_application_gets_the_address(self, caplog: pytest.LogCaptureFixture) -> None:
        """Not at the noisiest level either, whatever the libraries would say; other threads log as before."""
        caplog.set_level(1)
        with HttpServer() as server:
            AppriseTarget(Literal(f"{server.url}/hooks/token-canary"), 5).deliver(NOTICE)
        assert "canary" not in caplog.text
        logging.getLogger("apprise").warning("something of the application's own")
        assert "of the application's own" in caplog.text


class TestEmail:
    def test_a_mail_arrives_with_subject_and_text(self) -> None:
        """Plain text, so that names with markup are shown as they are."""
        with SmtpServer() as server:
            url = f"mailto://u:p@127.0.0.1:{server.port}?mode=insecure&from=lake@example.com&to=team@example.com&format=text"
            target = AppriseTarget(Literal(url.replace("u:p@", "")), 5)
            target.deliver(NOTICE)
            begun = time.monotonic()
            target.deliver(NOTICE)
            mail, _ = server.wait_for(2)
        assert time.monotonic() - begun < 4, "apprise's own pause between two mails is 5.5 s"
        assert "team@example.com" in str(mail["To"])
        content = b"".join(part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart())  # type: ignore[misc]
        assert "shop.<b>ördérs</b>: gone & lost." in content.decode()

    def test_a_mail_server_that_is_not_there_is_told_without_its_address(self) -> None:
        url = f"mailto://127.0.0.1:{free_port()}?mode=insecure&from=canary@example.com&to=team@example.com"
        with pytest.raises(DeliveryError) as caught:
            AppriseTarget(Literal(url), 5).deliver(NOTICE)
        assert "canary" not in str(caught.value)


def test_nothing_is_left_behind_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages go to commands through files without a name."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    CommandTarget(python("pass"), 30).deliver(NOTICE)
    assert list(tmp_path.iterdir()) == []
