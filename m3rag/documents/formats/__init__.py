"""One module per file format: bytes or text in, `Content` out; imported when first needed."""
