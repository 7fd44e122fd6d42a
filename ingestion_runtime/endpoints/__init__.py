"""What is read and what is written: relational sources, Iceberg tables and Parquet directories behind one seam."""
