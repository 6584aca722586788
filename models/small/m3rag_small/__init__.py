"""The model "small" of m3rag: the folder `model` beside this file, and no code."""
