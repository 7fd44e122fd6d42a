import time, pytest, traceback
import pyarrow as pa
from tests.batches import *
from ingestion_runtime.endpoints.iceberg.catalog import IcebergCatalog
from ingestion_runtime.endpoints.iceberg.target import IcebergTarget
from ingestion_runtime.endpoints.iceberg.writer import BranchWriter
from ingestion_runtime.model.spec import *
from ingestion_runtime.tools.spark import SparkTool

NAMES = [("shop","dots.in"),("shop","a..b"),("shop","trail."),("my.shop","t"),("order's `x\"","y;z")]
def test_names(spark, tmp_path):
    cs = CatalogSpec("lake", str(tmp_path/"c.db"), str(tmp_path/"wh"))
    rt = RuntimeSpec("t","","","UTC",cs,StagingSpec(""),"")
    tool = SparkTool.from_config(rt, None, None, tmp_path/"l", adopted=spark)
    cat = IcebergCatalog(cs)
    ses = tool.table_session()
    for i,(s,n) in enumerate(NAMES):
        t=time.monotonic()
        try:
            spec = TableSpec(s, n, "scd1","source",primary_keys=("id",))
            tgt = IcebergTarget(cat, spec, BranchWriter(ses,"lake",cat.identifier(spec),spec),"zstd",allow_missing=False)
            b = make_batch(spec,1)
            p = make_payload(tmp_path/str(i), b, pa.table({"id":[1,2],"v":["a","b"]}))
            assert tgt.head() is None
            h = tgt.prepare(p)
            w = tgt.write(b,"x",p,h)
            assert tgt.publish(None,w,make_receipt(b)) == tgt.location()
            b2 = make_batch(spec,2,base=b.id)
            p = make_payload(tmp_path/str(i)/"2", b2, pa.table({"id":[1,3],"v":["a","b"]}))
            h = tgt.prepare(p)
            w = tgt.write(b2,"x",p,h)
            assert tgt.publish(b.id,w,make_receipt(b2)) == tgt.location()
            print("OK", s,n, time.monotonic()-t, data_of(cat.pyiceberg().load_table(cat.identifier(spec)).scan().to_arrow()))
        except Exception as e:
            print("FAIL", n, type(e), str(e)[:300], time.monotonic()-t)

COLS = ["do.t"]
def test_cols(spark, tmp_path):
    cs = CatalogSpec("lake", str(tmp_path/"c.db"), str(tmp_path/"wh"))
    rt = RuntimeSpec("t","","","UTC",cs,StagingSpec(""),"")
    tool = SparkTool.from_config(rt, None, None, tmp_path/"l", adopted=spark)
    cat = IcebergCatalog(cs)
    ses = tool.table_session()
    for i,n in enumerate(COLS):
        t=time.monotonic()
        try:
            spec = TableSpec("shop", f"t{i}", "scd1","source",primary_keys=(n,), partition=(PartitionField(n,"truncate",2),))
            tgt = IcebergTarget(cat, spec, BranchWriter(ses,"lake",cat.identifier(spec),spec),"zstd",allow_missing=False)
            b = make_batch(spec,1)
            p = make_payload(tmp_path/str(i), b, pa.table({n:pa.array([1,2],pa.int32()),"v.v":pa.array([1,2],pa.int32())}))
            h = tgt.prepare(p)
            w = tgt.write(b,"x",p,h)
            tgt.publish(None,w,make_receipt(b))
            b2 = make_batch(spec,2,base=b.id)
            p = make_payload(tmp_path/str(i)/"2", b2, pa.table({n:[1,3],"v.v":[1,3], n+"x":[1,2]}))
            h = tgt.prepare(p)
            w = tgt.write(b2,"x",p,h)
            tgt.publish(b.id,w,make_receipt(b2))
            print("OK", n, time.monotonic()-t, data_of(cat.pyiceberg().load_table(cat.identifier(spec)).scan().to_arrow()))
        except Exception as e:
            traceback.print_exc()
            print("FAIL", n, type(e), str(e)[:300], time.monotonic()-t)
