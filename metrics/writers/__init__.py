"""Writers of metrics: append-only files, the TensorBoard mirror, exports."""
