from tests.integration.test_jdbc_read import *
import time
def test_speed(reading, postgres):
    spec=ConnectionSpec("a","sqlite","/tmp/jdbcpg/big.db")
    for i in range(3):
        t=time.time(); n=reading.land(spec, table_of("t")).num_rows; print("sqlite", n, time.time()-t)
    postgres.psql("create table t as select g id, timestamp '2020-01-01'+g*interval '1 s' c, 'some text '||g s from generate_series(1,1000000) g")
    for i in range(3):
        t=time.time(); n=reading.land(connection_of(postgres), table_of("t")).num_rows; print("pg", n, time.time()-t)
    s=reading.source(connection_of(postgres), table_of("t",incremental_column="c",incr_col_type=CursorType.TIMESTAMP))
    w=lambda x:Watermark(CursorType.TIMESTAMP,x)
    t=time.time(); s.fingerprint(ReRead(w("2000-01-01 00:00:00.000000"),w("2040-01-01 00:00:00.000000"),True)); print("fingerprint", time.time()-t)
    t=time.time(); s.probe_bounds(w("2000-01-01 00:00:00.000000")); print("bounds", time.time()-t)
