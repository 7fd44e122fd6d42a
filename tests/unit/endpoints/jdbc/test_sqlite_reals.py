"""Reals of SQLite as text: the digits that the SQLite of the JDBC driver prints, whatever the one in this process would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.endpoints.jdbc.dialects.sqlite_reals import spell_real

# Printed by sqlite-jdbc 3.54.1.0: SELECT printf('%!.17g', ?).
PRINTED = (
    "0.1 0.3 49.47 1.0 -0.5 0.0 123456789.123 15085.0 535.88200430668917 0.0001 1.0e-05 1.0e+17 2.0e+100 1.0e+22"
    " 9007199254740992.0 10000000000000000.0 4.9406564584124654e-324 1.7976931348623157e+308 2.2250738585072014e-308"
    " 9.7768282347508853e-109 733080383432313.63 2779024144563.4356 221580596184.7609 9.779994999999999e+21"
    " 0.011779223807836837 7.3388935667872719e-13 9.79781981491e-41 2.7609225829025001e-176 Inf -Inf"
)


@pytest.mark.parametrize("printed", PRINTED.split())
def test_a_real_is_spelled_as_the_driver_prints_it(printed: str) -> None:
    """Short where that suffices, exact halves rounded up, and the last digit as SQLite's arithmetic has it."""
    assert spell_real(float(printed)) == printed


def test_minus_zero_has_no_sign() -> None:
    """As SQLite prints it."""
    assert spell_real(-0.0) == "0.0"


@given(st.floats(allow_nan=False))
def test_no_text_is_another_real(value: float) -> None:
    """Read as a number it is the value again; a whole number has a point."""
    text = spell_real(value)
    assert float(text) == value
    assert "." in text or "Inf" in text
