"""The sections ``runtime.notify`` and ``runtime.metadata_gateway``."""

from typing import Any

import pytest

from ingestion_runtime.model.metrics import GatewaySpec
from ingestion_runtime.model.notify import Medium, NoticeKind, NotifySpec

HOOK = {"to": "webhook", "url": "${env:HOOK}"}


def test_left_out_nobody_is_told_and_nothing_is_recorded(desk: Any) -> None:
    """What a run costs then is nothing."""
    runtime = desk.load().runtime
    assert (runtime.notify, runtime.gateway) == (NotifySpec(), GatewaySpec())


def test_targets_are_told_of_everything_unless_they_choose(desk: Any) -> None:
    """Addresses stay references; a program beside the configuration is found whatever the working directory is."""
    targets = [
        {"to": "log"},
        {"to": "command", "command": ["bin/tell", "--now"], "on": ["failure", "end"], "timeout_seconds": 3},
        {"to": "command", "command": ["mailx", "-s", "lake"]},
        {**HOOK, "min_interval_seconds": 0},
        {"to": "email", "url": "${file:mail-url}"},
    ]
    notify = desk.load(lambda c: c["runtime"].update(notify={"targets": targets, "stall_seconds": 0})).runtime.notify
    log, near, named, hook, mail = notify.targets
    assert (log.medium, log.on, log.min_interval_seconds, log.timeout_seconds) == (Medium.LOG, frozenset(NoticeKind), 60, 10)
    assert near.command == (str(desk.directory / "bin/tell"), "--now")
    assert (near.on, near.timeout_seconds) == ({NoticeKind.FAILURE, NoticeKind.END}, 3)
    assert named.command == ("mailx", "-s", "lake")
    assert (str(hook.url), hook.min_interval_seconds, hook.name) == ("${env:HOOK}", 0, "notify.targets[3] (webhook)")
    assert (mail.medium, str(mail.url)) == (Medium.EMAIL, "${file:mail-url}")
    assert (notify.stall_seconds, notify.wait_seconds) == (0, 2)


@pytest.mark.parametrize(
    ("target", "at", "message"),
    [
        ({}, "/to", "this key is required"),
        ({"to": "pager"}, "/to", "must be"),
        ({"to": "webhook"}, "/url", "needs 'url'"),
        ({"to": "email"}, "/url", "needs 'url'"),
        ({"to": "command"}, "/command", "needs 'command'"),
        ({"to": "command", "command": []}, "/command", "must not be empty"),
        ({"to": "command", "command": "mailx"}, "/command", "must be a list"),
        ({"to": "command", "command": ["a\0b"]}, "/command", "control characters"),
        ({"to": "log", "url": "${env:HOOK}"}, "/url", "has no 'url'"),
        ({"to": "webhook", "url": "${env:HOOK}", "command": ["x"]}, "/command", "has no 'command'"),
        ({"to": "webhook", "url": "https://hooks.example.com/canary"}, "/url", "never the address itself"),
        ({"to": "webhook", "url": "${vault:canary}"}, "/url", "never the address itself"),
        ({**HOOK, "on": []}, "/on", "must not be empty"),
        ({**HOOK, "on": ["begin"]}, "/on/0", "must be"),
        ({**HOOK, "timeout_seconds": 0}, "/timeout_seconds", "at least 1"),
        ({**HOOK, "min_interval_seconds": -1}, "/min_interval_seconds", "at least 0"),
        ({**HOOK, "retries": 3}, "/retries", "unknown key"),
    ],
)
def test_targets_that_cannot_work_are_refused(desk: Any, target: dict[str, Any], at: str, message: str) -> None:
    """With the place, and without what may be a secret."""
    found = desk.refuse(lambda c: c["runtime"].update(notify={"targets": [{"to": "log"}, target]}))
    (place,) = found
    assert place == f"/runtime/notify/targets/1{at}"
    assert message in found[place]
    assert "canary" not in str(found)


def test_nobody_to_tell_is_a_mistake(desk: Any) -> None:
    """Whoever wants that leaves the section out."""
    assert desk.refuse(lambda c: c["runtime"].update(notify={"targets": []})) == {
        "/runtime/notify/targets": "must not be empty"
    }


def test_a_wrong_target_does_not_hide_other_mistakes(desk: Any) -> None:
    """All are told at once."""

    def edit(c: dict[str, Any]) -> None:
        c["runtime"].update(notify={"targets": [{"to": "webhook", "url": "x"}, {"to": "pager"}]}, timezone="Nowhere")

    assert {"/runtime/notify/targets/1/to", "/runtime/timezone"} <= set(desk.refuse(edit))


def test_records_and_lineage_are_switched_on_one_by_one(desk: Any) -> None:
    """The file of lineage events lies where the configuration says, a key stays a reference."""
    gateway = {"ingestion_metrics": True, "openlineage": {"file": "lineage/events.jsonl"}}
    found = desk.load(lambda c: c["runtime"].update(metadata_gateway=gateway)).runtime.gateway
    assert (found.ingestion_metrics, found.ingestion_runtime) == (True, False)
    assert found.openlineage.file == str(desk.directory / "lineage/events.jsonl")
    server = {"url": "https://lineage.example.com:5000", "api_key": "${env:KEY}", "namespace": "lake"}
    found = desk.load(lambda c: c["runtime"].update(metadata_gateway={"openlineage": server})).runtime.gateway.openlineage
    assert (found.url, str(found.api_key), found.namespace) == ("https://lineage.example.com:5000", "${env:KEY}", "lake")
    assert found.endpoint == "api/v1/lineage"


@pytest.mark.parametrize(
    ("lineage", "at", "message"),
    [
        ({}, "", "needs either 'file'"),
        ({"file": "x", "url": "http://h"}, "", "both are given"),
        ({"url": "ftp://h"}, "/url", "must look like"),
        ({"url": "http://"}, "/url", "must look like"),
        ({"url": "http://h:x"}, "/url", "must look like"),
        ({"url": "http://h/a b"}, "/url", "must look like"),
        ({"url": "http://me:canary@h"}, "/url", "neither a user"),
        ({"url": "http://h?key=canary"}, "/url", "neither a user"),
        ({"url": "http://h", "api_key": "canary"}, "/api_key", "never the key itself"),
        ({"file": "x", "api_key": "${env:KEY}"}, "/api_key", "needs no key"),
        ({"file": "~/x"}, "/file", "'~' is not expanded"),
    ],
)
def test_lineage_that_cannot_work_is_refused(desk: Any, lineage: dict[str, Any], at: str, message: str) -> None:
    """Nowhere to go or two places, and secrets in the open."""
    found = desk.refuse(lambda c: c["runtime"].update(metadata_gateway={"openlineage": lineage}))
    (place,) = found
    assert place == f"/runtime/metadata_gateway/openlineage{at}"
    assert message in found[place]
    assert "canary" not in str(found)
