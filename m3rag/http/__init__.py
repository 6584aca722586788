"""HTTP between an m3rag server and its clients: messages of arrays, and the client's side."""
