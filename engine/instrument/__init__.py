"""The cockpit for other people's training scripts: `lmm_run`, Hugging Face, Lightning."""
