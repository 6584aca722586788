"""A writer of compound files, the format of Outlook's messages, for small streams."""

import struct

SECTOR, MINI = 512, 64
END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def compound_file(tree):
    """Return a file with streams (bytes) in storages (dicts), by name."""
    entries = [["Root Entry", 5, FREE, 0, b""]]  # name, type, child, right sibling, content
    _add(entries, 0, tree)
    mini = b""
    mini_fat: list[int] = []
    starts = []
    for _, kind, _, _, content in entries:
        starts.append(len(mini_fat) if kind == 2 and content else END)
        count = -(-len(content) // MINI)
        mini_fat += [*range(len(mini_fat) + 1, len(mini_fat) + count), END] if count else []
        mini += content.ljust(count * MINI, b"\0")
    directory = b"".join(
        _entry(entry, start, len(mini)) for entry, start in zip(entries, starts, strict=True)
    )
    chains = [directory, struct.pack(f"<{len(mini_fat)}I", *mini_fat), mini]
    fat: list[int] = []
    firsts: list[int] = []
    body = b""
    for chain in chains:
        count = -(-len(chain) // SECTOR)
        firsts.append(len(fat))
        fat += [*range(len(fat) + 1, len(fat) + count), END]
        body += chain.ljust(count * SECTOR, b"\0")
    body = body.replace(b"MINI", struct.pack("<I", firsts[2]), 1)  # the start in the root entry
    fat_sector = len(fat)
    fat += [FAT]
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(SECTOR, b"\xff")
    header = struct.pack(
        "<8s16sHHHHH6sIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(16), 0x3E, 3, 0xFFFE, 9, 6, bytes(6),
        0, 1, firsts[0], 0, 4096, firsts[1], -(-len(chains[1]) // SECTOR), END, 0,
    )  # fmt: skip
    header += struct.pack("<I", fat_sector)
    return header.ljust(SECTOR, b"\xff") + body + table


def _add(entries, parent, tree):
    """Add the members of a storage as a chain of right siblings."""
    previous = None
    for name, content in tree.items():
        number = len(entries)
        storage = isinstance(content, dict)
        entries.append([name, 1 if storage else 2, FREE, FREE, b"" if storage else content])
        if previous is None:
            entries[parent][2] = number
        else:
            entries[previous][3] = number
        previous = number
        if storage:
            _add(entries, number, content)


def _entry(entry, start, mini_size):
    name, kind, child, right, content = entry
    encoded = f"{name}\0".encode("utf-16-le")
    packed = struct.pack("<64sHBBIII16sIQQ", encoded, len(encoded), kind, 1, FREE, right, child,
                         bytes(16), 0, 0, 0)  # fmt: skip
    if kind == 5:
        return packed + b"MINI" + struct.pack("<Q", mini_size)
    return packed + struct.pack("<IQ", start, len(content))
