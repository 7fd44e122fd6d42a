"""A read that is too large is halved until its parts get through, and nothing is read twice or left out."""

from pathlib import Path

import pytest

from ingestion_runtime.endpoints.jdbc.divided import MAX_DEPTH, Divisible, read_divided
from ingestion_runtime.model.endpoint import ReadSplit
from ingestion_runtime.model.errors import InterruptedRunError, OversizedReadError, TransientError


class Shelf:
    """A source of numbered rows, "low high" being its conditions, that hands out at most ``most`` rows at once."""

    def __init__(self, rows: int, most: int) -> None:
        self.rows = rows
        self.most = most
        self.told: list[int] = []

    def steps(self) -> Divisible:
        return Divisible(self.read, self.halve, self.discard, self.tell)

    def read(self, condition: str | None, directory: str) -> None:
        low, high = self._ends(condition)
        place = Path(directory)
        place.mkdir(parents=True)
        (place / "part-0").write_text(" ".join(map(str, range(low, min(high, low + self.most)))))
        if high - low > self.most:
            raise OversizedReadError("too many rows.", remedy="Take fewer.", limit=self.most)

    def halve(self, condition: str | None) -> tuple[str, str] | str:
        low, high = self._ends(condition)
        middle = (low + high) // 2
        return (f"{low} {middle}", f"{middle} {high}") if low < middle else "it is one row"

    def discard(self, directory: str) -> None:
        (Path(directory) / "part-0").unlink()
        Path(directory).rmdir()

    def tell(self, split: ReadSplit) -> None:
        assert split.reason == "too many rows."
        self.told.append(split.depth)

    def _ends(self, condition: str | None) -> tuple[int, int]:
        if condition is None:
            return 0, self.rows
        low, high = condition.split()
        return int(low), int(high)


def landed(root: Path) -> dict[str, list[int]]:
    return {str(p.relative_to(root)): [int(n) for n in p.read_text().split()] for p in sorted(root.rglob("part-0"))}


def test_a_read_that_gets_through_lies_in_the_directory_itself(tmp_path: Path) -> None:
    read_divided(Shelf(10, 10).steps(), None, str(tmp_path / "a"))
    assert landed(tmp_path / "a") == {"part-0": list(range(10))}


def test_halves_lie_beside_each_other_and_hold_every_row_once(tmp_path: Path) -> None:
    """Of the failed reads nothing is left; each halving is told before it is tried."""
    shelf = Shelf(10, 3)
    read_divided(shelf.steps(), None, str(tmp_path / "a"))
    assert landed(tmp_path / "a") == {
        "read=00/part-0": [0, 1],
        "read=01/part-0": [2, 3, 4],
        "read=10/part-0": [5, 6],
        "read=11/part-0": [7, 8, 9],
    }
    assert shelf.told == [1, 2, 2]


def test_what_cannot_be_halved_is_refused_with_reason_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(OversizedReadError, match=r"too many rows; .* it is one row\. Take fewer\.") as caught:
        read_divided(Shelf(4, 0).steps(), None, str(tmp_path / "a"))
    assert caught.value.values == {"limit": 0}
    assert caught.value.exit_code == 3


def test_halving_ends_after_its_depth(tmp_path: Path) -> None:
    """A million rows of which one at a time gets through are not read a million times."""
    shelf = Shelf(10**6, 1)
    with pytest.raises(OversizedReadError, match="halved 6 times"):
        read_divided(shelf.steps(), None, str(tmp_path / "a"))
    assert shelf.told == list(range(1, MAX_DEPTH + 1))


def test_other_errors_and_a_run_that_was_stopped_end_the_read(tmp_path: Path) -> None:
    shelf = Shelf(10, 3)

    def broken(condition: str | None, directory: str) -> None:
        raise TransientError("gone", remedy="Try again.")

    with pytest.raises(TransientError, match="gone"):
        read_divided(Divisible(broken, shelf.halve, shelf.discard), None, str(tmp_path / "a"))

    def stopped(split: ReadSplit) -> None:
        raise InterruptedRunError("stopped", remedy="Run again.")

    with pytest.raises(InterruptedRunError):
        read_divided(Divisible(shelf.read, shelf.halve, shelf.discard, stopped), None, str(tmp_path / "b"))
