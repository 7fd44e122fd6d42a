"""A source and a target that differ, as ``ingestion-recon`` and ``ingestion why-missing`` tell it."""

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.lake import PROJECT, Lake
from tests.pictures.drawing import save_svg
from tests.terminal import Terminal

_WIDTH, _HEIGHT = 148, 44
_MADE = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, total DECIMAL(10,2), updated_at TIMESTAMP);
CREATE TABLE customers (id INTEGER PRIMARY KEY, mail TEXT, updated_at TIMESTAMP);
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 12000)
INSERT INTO orders SELECT i, 'order ' || i, i * 1.25, datetime('2026-01-01', i || ' minutes') FROM g;
INSERT INTO customers SELECT id, 'c' || id || '@example.com', updated_at FROM orders WHERE id <= 4100;
"""
_BEHIND = """
UPDATE orders SET name = name || '  ' WHERE id = 204;
UPDATE orders SET total = round(total) WHERE id = 9121;
DELETE FROM orders WHERE id = 77;
INSERT INTO orders VALUES (12001, 'a late one', 1, '2026-01-03 10:00:00');
UPDATE orders SET total = total + 1, updated_at = '2026-02-01 00:00:00' WHERE id = 5;
"""


def draw_proofs(folder: Path) -> None:
    """Load two tables, change the source behind the cursor's back, and draw what is told of it, as ``proofs.svg``."""
    with tempfile.TemporaryDirectory(prefix="proofs-") as scratch, Terminal(_WIDTH, _HEIGHT) as terminal:
        root = Path(scratch)
        lake = _load(root)
        with closing(sqlite3.connect(root / "shop.db")) as source:
            source.executescript(_BEHIND)
        recon = [
            sys.executable,
            str(PROJECT / "recon.py"),
            "--config",
            str(lake.path),
            "--checks",
            "plain_count,checksum,bisect",
        ]
        why = [*lake.command()[:2], "why-missing", "shop.orders", "12001", "--config", str(lake.path)]
        script = root / "proofs.sh"
        script.write_text("clear\n" + "\necho\n".join(" ".join(f"'{word}'" for word in command) for command in (recon, why)))
        terminal.type(["sh", str(script)])
        terminal.wait_for("late_beyond_lag")
        shown = terminal.coloured().replace(str(root), "/lake")
    save_svg(shown, _WIDTH, "ingestion-recon, and ingestion why-missing shop.orders 12001", folder / "proofs.svg")


def _load(root: Path) -> Lake:
    with closing(sqlite3.connect(root / "shop.db")) as source:
        source.executescript(_MADE)
    merged = {
        "schema": "shop",
        "mode": "scd1",
        "primary_keys": ["id"],
        "incremental_column": "updated_at",
        "incr_col_type": "timestamp",
        "cursor_timezone": "UTC",
    }
    lake = Lake(
        root, {"dialect": "sqlite", "database": "shop.db"}, [{"table": name, **merged} for name in ("orders", "customers")]
    )
    lake.document["runtime"]["job_name"] = "shop"
    lake.save()
    assert lake.call().code == 0
    return lake
