"""Rows of an unbuffered result as the MySQL protocol sends them, many at a time.

The driver takes every value of every row in Python, which costs 8 s for 1,000,000 rows of 19 columns; cutting what is
received into rows costs 0.4 s, and what is in them is parsed by faster hands. The last packet of a result says that it is
complete, or that it failed: without either, the connection was lost.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Any

_RECEIVE_BYTES = 1 << 20
_LONG_BYTES = 1 << 16
_HEADER = Struct("<I").unpack_from  # three bytes of length, one of sequence
_HEADER_BYTES = 4
_FULL = 0xFFFFFF  # the length of a packet that another one continues
_NULL, _END, _ERROR = 0xFB, 0xFE, 0xFF
_END_BYTES = 9  # a packet that begins like the end and is no shorter is a row with a huge value
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
_SHORT, _MIDDLE = 251, 65538  # a value of up to 250 bytes with one byte for its length, of up to 65,535 with three
_LOST = 2013


class RowWire:
    """The rows that follow on a connection whose driver has read their description and nothing else."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._sequence = int(connection._next_seq_id)
        self._rest = b""
        self._large: list[bytes] = []  # the packets so far of one row that needs several

    def chunks(self) -> Iterator[list[bytes]]:
        """Yield rows, each as the protocol spells it, as they come in; every one has rows for about 1 MiB.

        Returns when the server says that these were all. Raises the driver's errors: what the server says instead, or that
        the connection was lost.
        """
        while True:
            rows, cut = self._split(self._rest + self._receive())
            self._rest = cut
            ended = bool(rows) and self._is_end(rows[-1])
            if ended:
                rows.pop()
            if rows:
                yield rows
            if ended:
                return

    def _receive(self) -> bytes:
        """Return what has come in; of a row that is known to be long, all that is missing, so that it is joined once."""
        missing = 0
        if len(self._rest) >= _HEADER_BYTES:
            missing = _HEADER_BYTES + (_HEADER(self._rest)[0] & _FULL) - len(self._rest)
        long = missing > _LONG_BYTES
        source = self._connection._rfile
        try:
            received: bytes = source.read(missing) if long else source.read1(_RECEIVE_BYTES)
        except OSError as error:
            raise _lost(f" ({error})") from None
        if not received or (long and len(received) < missing):
            raise _lost()
        return received

    def _split(self, received: bytes) -> tuple[list[bytes], bytes]:
        rows: list[bytes] = []
        position, end, sequence = 0, len(received) - _HEADER_BYTES, self._sequence
        while position <= end:
            (header,) = _HEADER(received, position)
            length = header & _FULL
            start = position + _HEADER_BYTES
            after = start + length
            if after > end + _HEADER_BYTES:
                break
            if header >> 24 != sequence:
                raise self._out_of_step(header >> 24)
            sequence = (sequence + 1) & 0xFF
            position = after
            if length == _FULL or self._large:
                self._large.append(received[start:after])
                if length < _FULL:
                    rows.append(b"".join(self._large))
                    self._large.clear()
            else:
                rows.append(received[start:after])
        self._sequence = sequence
        return rows, received[position:]

    def _is_end(self, row: bytes) -> bool:
        """Tell whether this is no row but the end; nothing comes after that, so only the last can be it."""
        if row[:1] == bytes([_ERROR]):
            from pymysql.err import raise_mysql_exception

            raise_mysql_exception(row)
        return row[:1] == bytes([_END]) and len(row) < _END_BYTES

    def _out_of_step(self, found: int) -> Exception:
        if found == 0:  # so MariaDB says that it shuts down
            return _lost()
        from pymysql.err import InternalError

        error: Exception = InternalError(f"Packet {found} of the server came in the place of another")
        return error


def _lost(why: str = "") -> Exception:
    from pymysql.err import OperationalError

    error: Exception = OperationalError(_LOST, f"Lost connection to the server in the midst of the rows{why}")
    return error


def cut_fields(row: bytes, count: int) -> list[bytes | None]:
    """Return the values of a row, None for NULL; raises ValueError for a row that has not so many."""
    values: list[bytes | None] = []
    position = 0
    for _ in range(count):
        length = row[position]
        position += 1
        if length == _NULL:
            values.append(None)
            continue
        if length > _NULL:
            width = _WIDTHS[length]
            length = int.from_bytes(row[position : position + width], "little")
            position += width
        values.append(row[position : position + length])
        position += length
    if position != len(row):
        raise ValueError(f"a row of {len(row)} bytes does not hold {count} values")
    return values


def only_fields(rows: list[bytes]) -> list[bytes]:
    """Return the one value of each row that has one; a NULL comes out as nothing at all."""
    return [
        row[1:] if len(row) <= _SHORT else row[3:] if len(row) <= _MIDDLE else cut_fields(row, 1)[0] or b"" for row in rows
    ]
