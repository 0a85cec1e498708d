"""PNG plots by matplotlib: page layout, panels, style, decimation."""
