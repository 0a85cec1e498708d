"""The chart engine: canvas, braille raster, axes and ticks, viewport, heat map, sparkline."""
