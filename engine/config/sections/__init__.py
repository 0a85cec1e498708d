"""One file for each section of the configuration: names, types, ranges, help and defaults."""
