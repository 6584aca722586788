"""A store behind `m3rag serve`, so that several processes can use one index."""
