"""What to read next: watermark arithmetic, slices and plans. Pure: no engine, no I/O."""
