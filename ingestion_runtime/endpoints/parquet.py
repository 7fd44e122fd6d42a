"""A plain Parquet directory as a target: published by moving one symbolic link.

    {final_root}/{schema}/{table}             what readers open: a link into the folder below
    {final_root}/{schema}/.{table}/B/         one folder a batch: part files and _RECEIPT.json
    {final_root}/{schema}/.{table}/_FENCE     the highest fencing token that was ever announced
    {final_root}/{schema}/.{table}/_LOCK      serialises check and swap, so that together they are a compare-and-set

The link moves by rename, so a reader that opens the directory sees the old batch or the new one. The batch that was replaced
stays until the next publish, for readers that are still at it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.endpoints.key_counts import count_keys
from ingestion_runtime.model.batch import Batch, Receipt, TableKey
from ingestion_runtime.model.errors import PublishRaceError, RefusedBatchError, TerminalError
from ingestion_runtime.model.policy import OnChange
from ingestion_runtime.model.spec import TableSpec
from ingestion_runtime.model.target import Payload, TargetHead, Written
from ingestion_runtime.tools.files import Files
from ingestion_runtime.tools.local_sql import LocalSql

RECEIPT = "_RECEIPT.json"


class ParquetTarget:
    """A table under ``final_root``. Implements ``TargetTable`` for batches that replace the whole table."""

    def __init__(self, root: str, table: TableSpec, files: Files, sql: LocalSql) -> None:
        self._root = root
        self._table = table
        self._files = files
        self._sql = sql
        self._link = Path(root, table.schema, table.table)
        self._folder = Path(root, table.schema, f".{table.table}")

    @property
    def key(self) -> TableKey:
        """The root directory, schema and table."""
        return TableKey(self._root, self._table.schema, self._table.table)

    def location(self) -> str | None:
        """What the link points to, with the fence: both change only by a publish or a takeover.

        None too where the folder behind the link is gone, so that nobody takes the table for untouched.
        """
        if not (self._link / RECEIPT).exists():
            return None
        return f"{self._link.readlink()}#{self._fence()}"

    def head(self) -> TargetHead | None:
        """The head, read from the published batch's receipt."""
        if not self._link.is_symlink():
            if self._link.exists():
                return TargetHead("", None, self._fence(), None, "a directory stands where the link should be", ())
            return None
        current = self._link.resolve()
        found, damage = _read_receipt(current)
        kept = found.previous if found else None
        return TargetHead(
            location=self.location() or "",
            receipt=found,
            fence=self._fence(),
            snapshot=current.name,
            damage=damage,
            branches=self._unpublished(current, kept),
        )

    def live_rows(self) -> int | None:
        """What the receipt says: each batch is the whole table."""
        head = self.head()
        return None if head is None or head.receipt is None else head.receipt.rows

    def columns(self) -> pa.Schema | None:
        """None: each batch is a directory of its own, with columns of its own."""
        return None

    def field_ids(self, schema: pa.Schema, renamed: Mapping[str, str]) -> Mapping[str, int]:  # noqa: ARG002 - the protocol's
        """None: a directory knows columns by name."""
        return {}

    def guard(self, token: int, drop: Sequence[str]) -> TargetHead:
        """Write the fence and remove batches that nobody reads; see ``TargetTable.guard``."""
        with self._locked():
            if self._fence() > token:
                raise self._race(f"the fence stands at {self._fence()}, above our token {token}")
            self._files.write_text(str(self._folder / "_FENCE"), str(token))
            for name in drop:
                if name != self._link.resolve().name:
                    shutil.rmtree(self._folder / name, ignore_errors=True)
        head = self.head()
        assert head is not None  # noqa: S101 - guard is only called for a table that has a head
        return head

    def is_littered(self, batch_id: str) -> bool:  # noqa: ARG002 - the protocol's
        """No: what is not published is a branch, all of it."""
        return False

    def sweep(self, batch_id: str) -> None:
        """Nothing: what is not published is a branch, all of it."""

    def prepare(self, payload: Payload) -> TargetHead:
        """Make sure that the payload may follow what is published; see ``TargetTable.prepare``.

        A directory holds any schema, so only a vanished column is judged.
        """
        head = self.head()
        self._refuse_missing_columns(payload)
        if head is not None and head.damage == "a directory stands where the link should be":
            raise TerminalError(
                f"{self._link} is a directory that this runtime did not make.",
                remedy="Move it away, or choose another final_root.",
                path=str(self._link),
            )
        return head or TargetHead("", None, self._fence(), None, None, ())

    def write(self, batch: Batch, attempt: str, payload: Payload, head: TargetHead) -> Written:
        """Put the files into a folder of their own; see ``TargetTable.write``."""
        folder = self._folder / f"{batch.id}_{attempt}"
        self._files.make_directory(str(folder))
        for number, source in enumerate(payload.files):
            # The rows are the same as in raw: another name for the file costs 0.1 ms, another encoding seconds.
            self._files.adopt(source, str(folder / f"part-{number:05d}.parquet"))
        counts = count_keys(self._sql, sorted(map(str, folder.glob("*.parquet"))), self._table.primary_keys)
        return Written(
            branch=folder.name,
            base=head.snapshot,
            snapshot=folder.name,
            rows=counts.rows,
            keys=counts.keys,
            found=counts.keys,
            null_keys=counts.null_keys,
            total=counts.rows,
            added=counts.rows,
            changed=True,
        )

    def discard(self, branch: str) -> None:
        """Remove a folder that was not published; see ``TargetTable.discard``."""
        folder = self._folder / branch
        if not (self._link.is_symlink() and self._link.resolve() == folder.resolve()):
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, expected: str | None, written: Written, receipt: Receipt) -> str:
        """Swap the link under the lock; see ``TargetTable.publish``."""
        folder = self._folder / written.branch
        with self._locked():
            head = self.head()
            found = head.receipt.batch_id if head and head.receipt else None
            if found != expected or (head.snapshot if head else None) != written.base:
                raise self._race(f"the receipt names batch {found}")
            if self._fence() > receipt.fence:
                raise self._race(f"the fence stands at {self._fence()}, above our token {receipt.fence}")
            self._files.write_text(str(folder / RECEIPT), dump_document(receipt))
            self._files.write_text(str(self._folder / "_FENCE"), str(receipt.fence))
            swap = self._folder / "_link"
            swap.unlink(missing_ok=True)
            swap.symlink_to(os.path.relpath(folder, self._link.parent))
            swap.replace(self._link)
            self._files.sync(str(self._link.parent))
            for old in self._folder.iterdir():
                if old.is_dir() and old.name not in (written.branch, written.base):
                    shutil.rmtree(old, ignore_errors=True)
        location = self.location()
        assert location is not None  # noqa: S101 - it was just made
        return location

    def keep_backup(self, batch_id: str) -> str | None:  # noqa: ARG002 - the protocol's
        """None: what a publish replaces stays until the next one in any case, and no longer."""
        return None

    def drop_backups(self, chosen: Callable[[str], bool]) -> None:
        """Nothing: there are none."""

    def _unpublished(self, current: Path, previous: str | None) -> tuple[str, ...]:
        """Return the folders that no reader was ever sent to: neither the current batch nor the one before it."""
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        others = (path.name for path in folders if path.is_dir() and path.name != current.name)
        return tuple(sorted(name for name in others if name.rpartition("_")[0] != previous))

    def _refuse_missing_columns(self, payload: Payload) -> None:
        gone = self._published_columns() - set(payload.schema.names)
        gone -= {former for _, former in payload.renamed}
        if gone and self._table.policy.dropped is OnChange.FAIL:
            raise RefusedBatchError(
                f"{self._table.name}: the source no longer has the columns {', '.join(sorted(gone))}.",
                remedy='Restore them at the source, or set "allow_missing_columns": true to go on without them.',
                table=self._table.name,
                columns=tuple(sorted(gone)),
            )

    def _published_columns(self) -> set[str]:
        """Return the columns that readers see; none where the file that says it is spoilt, so that it can be replaced."""
        import pyarrow.parquet as pq

        published = sorted(self._link.glob("*.parquet"))
        try:
            return set(pq.read_schema(published[0]).names) if published else set()
        except (OSError, pa.ArrowInvalid, UnicodeDecodeError):
            return set()

    def _fence(self) -> int:
        path = self._folder / "_FENCE"
        return int(path.read_text()) if path.exists() else 0

    def _race(self, reason: str) -> PublishRaceError:
        return PublishRaceError(
            f"{self._table.name}: the publish was refused ({reason}).", remedy="Nothing was published; run again."
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "_LOCK").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _read_receipt(folder: Path) -> tuple[Receipt | None, str | None]:
    """Return the receipt of a published batch, or what is wrong with it; such a table can only be replaced."""
    path = folder / RECEIPT
    if not folder.is_dir():
        return None, "the folder that its link points to is gone"
    if not path.exists():
        return None, "it holds data that this runtime did not publish"
    try:
        return load_document(Receipt, path.read_bytes(), str(path)), None
    except TerminalError as error:
        return None, error.message.rstrip(".")
