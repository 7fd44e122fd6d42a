"""Primary keys compared between a source and its target: by the fingerprints of hash buckets first, then by the keys."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

# Four hex digits of each key's md5. Fixed: 10 deletes in a million rows then move some 150 keys, and a comparison of the
# smallest table costs no more than its rows. In a thousand million rows they move 150,000, which still is 0.015 %.
BUCKETS = 16**4


@dataclass(frozen=True, slots=True)
class KeyBucket:
    """How many keys fall into a bucket, and the sum of 44 further bits of their hashes."""

    rows: int
    total: int


KeyBuckets = Mapping[str, KeyBucket]


@dataclass(frozen=True, slots=True)
class KeyFingerprint:
    """Count and order-independent digest of all keys of a source, under one policy for deletes."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class TargetKeys:
    """The keys that a target will hold once a batch is published.

    ``live`` counts the keys that stand there before; ``buckets`` are of these united with the batch's own.
    """

    live: int
    buckets: KeyBuckets


@dataclass(frozen=True, slots=True)
class KeysMissed:
    """What was found when keys were moved: tombstones written and a few of their keys, keys of the batch itself that the
    source has no more, and the moved keys by bucket."""

    deleted: int
    examples: tuple[str, ...]
    gone_again: int
    moved: KeyBuckets


@dataclass(frozen=True, slots=True)
class KeyComparison:
    """How the keys of a source and a target compared, when a batch's slices had been staged.

    ``deleted`` of the ``live`` keys are no longer at the source. ``moved`` keys were read from the source, because
    ``differing`` of ``buckets`` buckets differed; ``missing`` keys of the source are not in the target. ``source`` is
    worth remembering: with a source of the same fingerprint nothing would be found; None where that is not certain.
    ``against`` names the attempts of the slices that took part.
    """

    source: KeyFingerprint | None
    live: int
    deleted: int
    moved: int
    buckets: int
    differing: int
    missing: int
    against: tuple[str, ...]

    @property
    def fraction(self) -> float:
        """Deleted keys per live key, 0 to 1."""
        return self.deleted / self.live if self.live else 0.0


def key_fingerprint(buckets: KeyBuckets, policy: str) -> KeyFingerprint:
    """Return the fingerprint of all keys in their buckets. It holds for one policy: ``hard`` removes what ``soft`` keeps."""
    digest = hashlib.sha256(f"1 {policy}".encode())  # 1: the canonical spelling of keys
    for name in sorted(buckets):
        digest.update(f"\n{name} {buckets[name].rows} {buckets[name].total}".encode())
    return KeyFingerprint(sum(bucket.rows for bucket in buckets.values()), digest.hexdigest())


def differing_buckets(one: KeyBuckets, other: KeyBuckets) -> tuple[str, ...]:
    """Return the names of the buckets that are not equal in both, sorted."""
    return tuple(sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)))
