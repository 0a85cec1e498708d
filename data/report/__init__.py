"""What a data set holds: lengths, scripts, duplicates, overlap with test questions."""
