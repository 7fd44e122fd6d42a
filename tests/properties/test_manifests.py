"""What is persisted comes back equal: receipts, manifests, batches with their plans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_runtime.documents import dump_document, load_document
from ingestion_runtime.model.batch import Batch, RawManifest, Receipt, SliceManifest
from ingestion_runtime.model.errors import TerminalError

DOCUMENTS = st.one_of(*(st.from_type(kind) for kind in (Receipt, SliceManifest, RawManifest, Batch)))


@given(DOCUMENTS)
def test_a_document_comes_back_equal(document: Receipt | SliceManifest | RawManifest | Batch) -> None:
    """One line of JSON holds everything: nested slices, dates, enumerations, None."""
    text = dump_document(document)
    assert "\n" not in text
    assert load_document(type(document), text, "test") == document
    assert load_document(type(document), text.encode(), "test") == document


@given(st.from_type(Receipt), st.data())
def test_a_document_cut_short_is_refused(receipt: Receipt, data: st.DataObject) -> None:
    """A torn write is never taken for a receipt."""
    text = dump_document(receipt)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(TerminalError, match="the receipt of test"):
        load_document(Receipt, text[:cut], "the receipt of test")


@given(st.from_type(SliceManifest))
def test_a_manifest_counts_the_rows_of_its_files(manifest: SliceManifest) -> None:
    """Also after a round trip."""
    again = load_document(SliceManifest, dump_document(manifest), "test")
    assert again.rows == sum(file.rows for file in manifest.files)


def test_another_document_is_refused() -> None:
    """A manifest is no receipt; the message names where it was found and what is missing."""
    with pytest.raises(TerminalError, match=r"shop\.orders holds no readable Receipt .*batch_id"):
        load_document(Receipt, "{}", "shop.orders")


def test_a_receipt_written_by_hand_is_read() -> None:
    """People read receipts too: dates and enumerations are spelled out."""
    text = (
        '{"batch_id":"b","sequence":1,"previous":null,"mode":"scd1","write":"merge","load_date":"2024-01-02",'
        '"watermark":{"type":"date","literal":"2024-01-01"},"fingerprint":null,"fence":1,"owner":"o","rows":0,'
        '"reading":[["source","sqlite:///shop.db"]],"keys":null,"manifest":null}'
    )
    assert dump_document(load_document(Receipt, text, "test")) == text


def test_a_receipt_from_before_keys_were_compared_is_read() -> None:
    """Tables that an earlier version published go on; what their receipts do not say is not known."""
    text = (
        '{"batch_id":"b","sequence":1,"previous":null,"mode":"scd1","write":"merge","load_date":"2024-01-02",'
        '"watermark":null,"fingerprint":null,"fence":1,"owner":"o","rows":0}'
    )
    receipt = load_document(Receipt, text, "test")
    assert (receipt.keys, receipt.reading, receipt.manifest) == (None, (), None)
