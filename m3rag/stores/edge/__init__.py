"""The store in a folder: a qdrant-edge shard, served by a process of its own.

directory  the location: which files an index has in its folder
store      implements the protocol, in the user's process
client     starts the engine process and exchanges messages with it
wire       the format of these messages
server     the engine process
shard      one open shard: the operations that it serves
convert    converts ids, vectors and filters to the engine's types
lock       lets one process at a time open the folder
"""
