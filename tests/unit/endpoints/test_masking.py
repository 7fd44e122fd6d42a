"""Masks over arrays: equal to the standard's own HMAC, and cut by characters."""

import hashlib
import hmac

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.endpoints.engine import EngineFacts, choose_engine
from ingestion_runtime.endpoints.jdbc.masking import masker, spark_masked
from ingestion_runtime.model.errors import ConfigError, TerminalError
from ingestion_runtime.model.privacy import LEAST_SALT, Mask, MaskMethod, Salt
from ingestion_runtime.model.spec import Engine


class Held:
    """A secret that is there."""

    def __init__(self, value: str) -> None:
        self._value = value

    def resolve(self) -> str:
        return self._value


@given(salt=st.text("aß中", min_size=LEAST_SALT, max_size=90), texts=st.lists(st.none() | st.text(max_size=99)))
def test_a_hash_is_hmac_sha_256_of_the_text(salt: str, texts: list[str | None]) -> None:
    """Keys of less and of more than a block; NULL stays NULL, and an empty text is none."""
    mask = masker(Mask("a", MaskMethod.HASH, salt=Salt(Held(salt))))
    expected = [None if t is None else hmac.new(salt.encode(), t.encode(), hashlib.sha256).hexdigest() for t in texts]
    assert mask(pa.array(texts, pa.string())).to_pylist() == expected


@given(length=st.integers(1, 9), texts=st.lists(st.none() | st.text(max_size=12)))
def test_a_text_is_cut_between_characters(length: int, texts: list[str | None]) -> None:
    """Of one to four bytes each."""
    cut = masker(Mask("a", MaskMethod.TRUNCATE, length=length))
    assert cut(pa.array(texts, pa.string())).to_pylist() == [None if t is None else t[:length] for t in texts]


def facts(wanted: Engine, *, far: tuple[str, ...] = (), bytes_: int | None = None, hashes: bool = True) -> EngineFacts:
    return EngineFacts("shop.people", wanted, "sqlite", True, far, "yarn", bytes_, 1, hashes=hashes)


def test_no_hash_is_left_to_spark() -> None:
    """Not for a setting, not for a place, not for a size; a table without hashes goes where it went."""
    with pytest.raises(TerminalError, match="plans and logs"):
        spark_masked(Mask("a", MaskMethod.HASH), "c0")
    with pytest.raises(ConfigError, match="columns are masked by hash"):
        choose_engine(facts(Engine.SPARK))
    with pytest.raises(ConfigError, match="the warehouse on HDFS"):
        choose_engine(facts(Engine.AUTO, far=("the warehouse",)))
    assert choose_engine(facts(Engine.AUTO, bytes_=2**40)).engine is Engine.ARROW
    assert choose_engine(facts(Engine.AUTO, bytes_=2**40, hashes=False)).engine is Engine.SPARK
