"""``make bench``: what the program costs, beside other programs and beside the least that anything could cost."""
