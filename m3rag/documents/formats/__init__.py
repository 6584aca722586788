"""One file per format: bytes or text in, `Content` out; imported when first needed."""
