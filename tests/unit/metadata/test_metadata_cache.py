"""Snapshots on disk."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingestion_runtime.metadata.cache import MetadataCacheManager
from ingestion_runtime.model.errors import TransientError
from ingestion_runtime.model.schema import ColumnSnapshot, TableSnapshot

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)


def snapshot(schema: str = "shop", table: str = "orders", taken_at: datetime = NOON) -> TableSnapshot:
    """Return a snapshot with two columns."""
    columns = (ColumnSnapshot("id", "bigint", "int64", False), ColumnSnapshot("note", "text", "string", True))
    return TableSnapshot(schema, table, columns, ("id",), 42, taken_at)


def cache_in(directory: Path, ttl_hours: float = 24) -> MetadataCacheManager:
    """Return a cache whose clock stands at noon."""
    return MetadataCacheManager(directory, ttl_hours, lambda: NOON)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """By source, schema and table; other sources do not see it."""
    cache = cache_in(tmp_path / "not" / "yet")
    assert cache.load("erp", "shop", "orders") is None
    cache.save("erp", snapshot())
    assert cache.load("erp", "shop", "orders") == snapshot()
    assert cache.load("crm", "shop", "orders") is None


def test_a_snapshot_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The new document takes the old one's place, and nothing temporary stays behind."""
    cache = cache_in(tmp_path)
    cache.save("erp", snapshot())
    cache.save("erp", snapshot(taken_at=NOON + timedelta(hours=1)))
    loaded = cache.load("erp", "shop", "orders")
    assert loaded is not None
    assert loaded.taken_at == NOON + timedelta(hours=1)
    assert [p.name for p in (tmp_path / "erp").iterdir()] == ["shop.orders.json"]


@pytest.mark.parametrize(
    ("age_hours", "ttl_hours", "fresh"),
    [(0, 24, True), (23, 24, True), (24, 24, False), (0, 0, False), (-1, 24, False)],
)
def test_freshness_ends_with_the_ttl(tmp_path: Path, age_hours: int, ttl_hours: int, fresh: bool) -> None:
    """A TTL of 0 means describe at every run; a snapshot from the future is not trusted."""
    taken = snapshot(taken_at=NOON - timedelta(hours=age_hours))
    assert cache_in(tmp_path, ttl_hours).is_fresh(taken) is fresh


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"schema": "shop"}', b"[]"])
def test_an_unreadable_document_is_moved_aside(tmp_path: Path, content: bytes) -> None:
    """It counts as absent, is kept for people to look at, and the next save works."""
    cache = cache_in(tmp_path)
    path = cache.path("erp", "shop", "orders")
    path.parent.mkdir()
    path.write_bytes(content)
    assert cache.load("erp", "shop", "orders") is None
    assert not path.exists()
    assert path.with_name("shop.orders.json.broken").read_bytes() == content
    cache.save("erp", snapshot())
    assert cache.load("erp", "shop", "orders") == snapshot()


@pytest.mark.parametrize("name", ["..", ".", "../../etc", "/etc/passwd", "a\x00b", "a/b\\c", "", "\ud800", "ü" * 200])
def test_no_name_leaves_the_directory(tmp_path: Path, name: str) -> None:
    """Whatever a source calls its tables, the document lies two levels below the cache."""
    cache = cache_in(tmp_path)
    for path in (cache.path(name, "s", "t"), cache.path("x", name, "t"), cache.path("x", "s", name)):
        assert path.resolve().parent.parent == tmp_path.resolve()
        assert len(path.name.encode()) < 230
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_different_names_never_share_a_document(tmp_path: Path) -> None:
    """Not across the dot between schema and table, and not where long names are shortened."""
    cache = cache_in(tmp_path)
    names = [("a.b", "c"), ("a", "b.c"), ("a%2Eb", "c"), ("x" * 150 + "1", "c"), ("x" * 150 + "2", "c")]
    assert len({cache.path("erp", schema, table) for schema, table in names}) == len(names)


def test_a_directory_that_cannot_be_written_is_worth_a_retry(tmp_path: Path) -> None:
    """The message names the file; nothing half-written stays."""
    (tmp_path / "erp").write_text("a file where a directory should be")
    with pytest.raises(TransientError, match="Cannot write the metadata snapshot"):
        cache_in(tmp_path).save("erp", snapshot())
    with pytest.raises(TransientError, match="Cannot read the metadata snapshot"):
        cache_in(tmp_path).load("erp", "shop", "orders")
