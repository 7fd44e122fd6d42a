"""Fingerprints of keys: what makes two of them equal, and which buckets differ."""

import pytest

from ingestion_runtime.model.keys import KeyBucket, KeyComparison, differing_buckets, key_fingerprint

SOURCE = {"00ff": KeyBucket(2, 30), "1234": KeyBucket(1, 7)}


def test_a_fingerprint_does_not_depend_on_the_order_in_which_buckets_come() -> None:
    """Engines group in any order."""
    assert key_fingerprint(SOURCE, "hard") == key_fingerprint(dict(reversed(SOURCE.items())), "hard")
    assert key_fingerprint(SOURCE, "hard").rows == 3


@pytest.mark.parametrize(
    "other",
    [
        {"00ff": KeyBucket(2, 31), "1234": KeyBucket(1, 7)},
        {"00ff": KeyBucket(1, 30), "1234": KeyBucket(2, 7)},
        {"00ff": KeyBucket(2, 30)},
        {"00fe": KeyBucket(2, 30), "1234": KeyBucket(1, 7)},
        {},
    ],
)
def test_any_other_keys_have_another_fingerprint(other: dict[str, KeyBucket]) -> None:
    """Another sum, another count, a bucket less, another bucket, no keys at all."""
    assert key_fingerprint(other, "hard") != key_fingerprint(SOURCE, "hard")


def test_a_fingerprint_holds_for_one_policy() -> None:
    """Rows that soft deletes keep are rows that hard deletes would remove."""
    assert key_fingerprint(SOURCE, "soft") != key_fingerprint(SOURCE, "hard")


def test_buckets_differ_by_count_by_sum_and_by_being_there() -> None:
    """One key exchanged for another changes the sum and not the count."""
    target = {"00ff": KeyBucket(2, 31), "1234": KeyBucket(1, 7), "abcd": KeyBucket(1, 1)}

    assert differing_buckets(SOURCE, target) == ("00ff", "abcd")
    assert differing_buckets(SOURCE, SOURCE) == ()


def test_the_fraction_of_an_empty_table_is_nothing() -> None:
    """Nothing can be deleted from it."""
    assert KeyComparison(None, live=0, deleted=0, moved=0, buckets=1, differing=0, missing=0, against=()).fraction == 0
    assert KeyComparison(None, live=40, deleted=10, moved=0, buckets=1, differing=0, missing=0, against=()).fraction == 0.25
