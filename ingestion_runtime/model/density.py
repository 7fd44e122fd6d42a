"""Cutting a range where its rows are, by counting: pure arithmetic over ticks, shared by planner and source.

A round asks for the rows of many adjacent cells at once; only cells that hold too much are divided further, and only
where their rows lie. Two or three rounds serve what occurs: even rows, a dense stretch, a migration that gave a million
rows one timestamp. The number of rounds is bounded for everything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_ROUNDS = 8
#: Cells of one round. A statement of 4,096 cells has about 300 kB.
MAX_CELLS = 4096
_FEW_CELLS = 256


@dataclass(frozen=True, slots=True)
class Cell:
    """What lies in the ticks (low, high]: rows, and the smallest and largest tick that has some (None without rows)."""

    low: int
    high: int
    rows: int
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the range, (low, high] in ticks, and the rows counted in it (0 where nothing was asked)."""

    low: int
    high: int
    rows: int


#: Asked with ascending ticks e0, e1 ... en; answers with one cell for each (e0, e1], (e1, e2] ... in their order.
Counts = Callable[[Sequence[int]], Sequence[Cell]]


def cut_by_rows(low: int, high: int, pieces: int, counts: Counts, *, at_low: int = 0) -> tuple[Piece, ...]:
    """Return at most ``pieces`` pieces, in order, adjacent, covering exactly (low, high], none without a tick.

    No piece holds more than twice its share (rows / ``pieces``) unless it is a single tick: ties cannot be told apart,
    and stand alone. The largest piece is as small as the cells allow. There are at most MAX_ROUNDS questions, none for a
    single piece. That the bound is met is certain for a range of 2**64 ticks and 24 pieces; beyond, a heavy cell that is
    still wider than a tick after the last question stands alone as well. Where the rows change between two questions
    the cover still holds, and the shares are those of the rows that were seen. An empty range yields nothing.

    ``at_low`` rows are known to lie at ``low`` itself (NULL has its place there); the cover then begins one tick lower.
    """
    if low >= high:
        return ()
    known = [Cell(low - 1, low, at_low, low, low)] if at_low else []
    if pieces <= 1:
        return (Piece(low - len(known), high, 0),)
    cells = known + _split_apart(counts(_even(low, high, max(64, 8 * pieces))))
    share = sum(cell.rows for cell in cells) / pieces
    for left in range(MAX_ROUNDS - 1, 0, -1):
        # Quarters of a share make even pieces; from the fourth question on only what breaks the bound is worth one.
        limit = share / 4 if left > MAX_ROUNDS - 4 else 2 * share
        heavy = _heaviest([cell for cell in cells if cell.rows > limit and cell.high - cell.low > 1])
        if not heavy:
            break
        cells = _refine(cells, heavy, _edges(heavy, 2 * share, left), counts)
    return _gather(cells, pieces)


def _even(low: int, high: int, cells: int) -> list[int]:
    count = max(1, min(cells, high - low, MAX_CELLS))
    return [low + (high - low) * step // count for step in range(count + 1)]


def _split_apart(found: Sequence[Cell]) -> list[Cell]:
    """Cut the empty stretches off, so that a cell reaches from just below its first row to its last."""
    cells: list[Cell] = []
    for cell in found:
        if not cell.rows or cell.first is None or cell.last is None:
            cells.append(cell)
            continue
        first, last = max(cell.first, cell.low + 1), min(cell.last, cell.high)
        edges = sorted({cell.low, first - 1, last, cell.high})
        cells += [Cell(a, b, cell.rows if b == last else 0) for a, b in pairwise(edges)]
    return cells


def _heaviest(cells: Sequence[Cell]) -> list[Cell]:
    """Return as many as one round can divide, in the order of their ticks."""
    chosen = sorted(cells, key=lambda cell: -cell.rows)[: MAX_CELLS // 4]
    return sorted(chosen, key=lambda cell: cell.low)


def _edges(heavy: Sequence[Cell], bound: float, left: int) -> list[list[int]]:
    """Return the edges at which each heavy cell is divided, so that ``left`` rounds reach single ticks where they must."""
    wanted = []
    for cell in heavy:
        needed = _root(cell.high - cell.low, left) if cell.rows > bound else 2
        wanted.append(max(2, needed, _FEW_CELLS // len(heavy)))
    # The gaps between heavy cells are counted along.
    excess = max(1.0, sum(wanted) / (MAX_CELLS - len(heavy)))
    return [_even(cell.low, cell.high, max(2, int(fan / excess))) for cell, fan in zip(heavy, wanted, strict=True)]


def _root(width: int, degree: int) -> int:
    """Return the smallest whole number whose power of ``degree`` reaches ``width``, MAX_CELLS at most."""
    root = min(MAX_CELLS, max(1, int(float(width) ** (1 / degree)) - 1))
    while root < MAX_CELLS and root**degree < width:
        root += 1
    return root


def _refine(cells: Sequence[Cell], heavy: Sequence[Cell], edges: Sequence[list[int]], counts: Counts) -> list[Cell]:
    inner = {cell.low: places for cell, places in zip(heavy, edges, strict=True)}
    asked = sorted({place for places in edges for place in places})
    answers = {cell.low: cell for cell in counts(asked)}
    refined: list[Cell] = []
    for cell in cells:
        if cell.low in inner:
            refined += _split_apart([answers[place] for place in inner[cell.low][:-1]])
        else:
            refined.append(cell)
    return refined


def _gather(cells: Sequence[Cell], pieces: int) -> tuple[Piece, ...]:
    """Return the cells as pieces, with the smallest limit, two shares at most, under which they are few enough.

    A cell above the limit stands alone. Any two neighbours together hold more than the limit: so with two shares there
    are never too many.
    """
    low, high = 1, max(1, 2 * sum(cell.rows for cell in cells) // pieces)
    while low < high:
        middle = (low + high) // 2
        if len(_pack(cells, middle)) <= pieces:
            high = middle
        else:
            low = middle + 1
    return _pack(cells, high)


def _pack(cells: Sequence[Cell], limit: int) -> tuple[Piece, ...]:
    packed: list[Piece] = []
    for cell in cells:
        last = packed[-1] if packed else None
        if last is not None and (not last.rows or not cell.rows or last.rows + cell.rows <= limit):
            packed[-1] = Piece(last.low, cell.high, last.rows + cell.rows)
        else:
            packed.append(Piece(cell.low, cell.high, cell.rows))
    return tuple(packed)
