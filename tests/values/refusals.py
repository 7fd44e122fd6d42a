"""Values that no landing type holds, and the words with which each is refused: a data table for every dialect."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A column's declaration, a literal put into it, and the reason that has to be given."""

    declared: str
    literal: str
    reason: str

    def __str__(self) -> str:
        """Return the name of the test."""
        return f"{self.declared} {self.literal}"


def _each(declared: str, reason: str, *values: str) -> tuple[Refusal, ...]:
    return tuple(Refusal(declared, value, reason) for value in values)


def _escaped(digits: str) -> str:
    return "".join(f"\\x{digits[place : place + 2]}" for place in range(0, len(digits), 2))


_YEARS = "outside the years 0001 to 9999"
_TEXT = "blobs or invalid UTF-8 in a column of text"
# Not a byte of UTF-8, half a character, a surrogate, a letter in two bytes where one would do, beyond U+10FFFF.
_NO_UTF8 = ("ff", "41c3", "eda080", "c181", "f4908080")

POSTGRESQL = (
    *_each("date", _YEARS, "'infinity'", "'-infinity'", "'10000-01-01'", "'0001-12-31 BC'", "'5874897-12-31'"),
    *_each("timestamp", _YEARS, "'infinity'", "'-infinity'", "'10000-01-01'", "'0001-12-31 23:59:59.999999 BC'"),
    # The last two are in the years 1 and 9999 by the clocks of their own zones only.
    *_each("timestamptz", _YEARS, "'infinity'", "'-infinity'", "'0001-01-01 00:59+01'", "'9999-12-31 23:00-01'"),
    *_each("numeric(10,2)", "NaN, which a decimal cannot hold", "'NaN'"),
    *_each("numeric(38,0)", "NaN, which a decimal cannot hold", "'NaN'"),
)
# A database in SQL_ASCII takes any bytes.
POSTGRESQL_ASCII = (
    *_each("text", "no valid UTF-8", *(f"E'{_escaped(value)}'" for value in _NO_UTF8)),
    *_each("varchar(9)", "no valid UTF-8", r"E'a\xff'"),
    *_each("char(3)", "no valid UTF-8", r"E'a\xff'"),
    *_each("text[]", "no valid UTF-8", r"ARRAY[E'a\xff']"),
    *_each("json", "no valid UTF-8", "E'\"\\xff\"'"),
)
SQLITE = (
    *_each("INTEGER", "no integers", "'abc'", "''", "1.5", "1e300", "9223372036854775808", "x'31'", "'1x'"),
    *_each("BIGINT", "no integers", "'1 000'"),
    *_each("REAL", "no numbers that a double holds exactly", "'x'", "x'00'", "''", "'NaN'"),
    *_each("DECIMAL(6,2)", "no numbers of 6 digits", "0.125", "12345", "'NaN'", "x'00'", "1e300", "9e999", "'abc'"),
    *_each("DECIMAL(30,0)", "no numbers of 30 digits", "1e20", "12345678901234567890"),
    *_each("BOOLEAN", "neither 0 nor 1", "2", "-1", "'true'", "0.5", "''"),
    *_each(
        "DATE",
        "not days spelled YYYY-MM-DD",
        "'2023-02-30'",
        "'2024-1-1'",
        "20240101",
        "'0000-01-01'",
        "'10000-01-01'",
        "'2024-01-01 00:00:00'",
        "''",
        "'today'",
        "2460310.5",
    ),
    *_each(
        "DATETIME",
        "not spelled YYYY-MM-DD HH:MM:SS",
        "'2024-01-01'",
        "'2024-01-01 24:00:00'",
        "'2024-01-01 10:00:00+02'",
        "'2024-01-01 10:00:00Z'",
        "'2024-01-01 10:00:00.1234567'",
        "'0000-01-01 00:00:00'",
        "'2024-02-30 00:00:00'",
        "1704067200",
        "''",
        "'2024-01-01 10:00:60'",
        "'2024-01-01 10:00:00.'",
        "'2024-01-01 10:00:00' || char(0)",
    ),
    *_each("BLOB", "no blobs", "'text'", "1", "''"),
    *_each("TEXT", _TEXT, "x''", "x'00'", *(f"CAST(x'{value}' AS TEXT)" for value in _NO_UTF8)),
    *_each("VARCHAR(9)", _TEXT, "CAST(x'41ff' AS TEXT)"),
    *_each("NUMERIC", _TEXT, "x'00'", "CAST(x'ff' AS TEXT)"),
    *_each("", _TEXT, "x'00'", "CAST(x'ff' AS TEXT)"),
)
# Half of a surrogate pair, alone and before a letter; a blob.
SQLITE_UTF16 = _each(
    "TEXT", "blobs or invalid UTF-16le in a column of text", "CAST(x'3dd8' AS TEXT)", "CAST(x'3dd84100' AS TEXT)", "x'00'"
)
_NO_DAY = "zero or partial dates, days that no calendar has, or of the year 0"
MARIADB = (
    *_each("date", _NO_DAY, "'0000-00-00'", "'2024-00-10'", "'2024-10-00'", "'2023-02-29'", "'0000-01-01'", "'0000-12-31'"),
    *_each("datetime", _NO_DAY, "'0000-00-00 00:00:00'", "'2024-02-30 10:00:00'", "'0000-02-29 23:59:59'"),
    *_each("datetime(6)", _NO_DAY, "'2024-00-00 00:00:00.000001'"),
    *_each("timestamp", _NO_DAY, "'0000-00-00 00:00:00'"),
    *_each("varchar(9) CHARACTER SET gbk", "gbk text with characters that Unicode does not have", "x'FEFE'"),
)
