"""ELF files packed by hand: what a loader reads and nothing else."""

import struct

MACHINES = {
    "i686": (3, 32, "<"),
    "ppc64le": (21, 64, "<"),
    "ppc64": (21, 64, ">"),
    "s390x": (22, 64, ">"),
    "arm": (40, 32, "<"),
    "x86_64": (62, 64, "<"),
    "aarch64": (183, 64, "<"),
    "riscv64": (243, 64, "<"),
}
TYPES = {"relocatable": 1, "executable": 2, "shared": 3, "core": 4}


def elf_hash(name: str) -> int:
    """The gABI's hash of a name."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


def make_elf(
    machine: str = "x86_64",
    *,
    type: str = "shared",  # noqa: A002 - the field's name
    interp: str = "",
    soname: str = "",
    needed: tuple[str, ...] = (),
    rpath: str = "",
    runpath: str = "",
    verneed: tuple[tuple[str, tuple[str, ...]], ...] = (),
    weak: tuple[str, ...] = (),
    verdef: tuple[str, ...] = (),
    symbols: dict[str, bytes] | None = None,
    build_id: bytes = b"",
    payload: bytes = b"",
    dynamic: bool = True,
    flags: int = 0,
) -> bytes:
    """One file, mapped as a whole at address 0x10000; ``payload`` stands at its end, ``symbols`` are data objects."""
    number, bits, order = MACHINES[machine]
    wide, base = bits == 64, 0x10000
    strings = bytearray(b"\0")

    def text(value: str) -> int:
        found = bytes(strings).find(b"\0" + value.encode() + b"\0")
        if found >= 0:
            return found + 1
        strings.extend(value.encode() + b"\0")
        return len(strings) - len(value.encode()) - 1

    need = bytearray()
    for index, (library, versions) in enumerate(verneed):
        last = index == len(verneed) - 1
        size = 16 + 16 * len(versions)
        need += struct.pack(order + "HHIII", 1, len(versions), text(library), 16, 0 if last else size)
        for position, version in enumerate(versions):
            ahead = 0 if position == len(versions) - 1 else 16
            need += struct.pack(
                order + "IHHII", elf_hash(version), 2 if version in weak else 0, 2, text(version), ahead
            )
    define = bytearray()
    names = (soname or "x", *verdef) if verdef else ()
    for index, version in enumerate(names):
        ahead = 0 if index == len(names) - 1 else 28
        define += struct.pack(order + "HHHHIII", 1, int(index == 0), index + 1, 1, elf_hash(version), 20, ahead)
        define += struct.pack(order + "II", text(version), 0)
    head = (64 if wide else 52) + (56 if wide else 32) * 4
    body = bytearray(bytes(head))

    def put(data: bytes) -> int:
        body.extend(bytes(-len(body) % 8))
        body.extend(data)
        return len(body) - len(data)

    objects = symbols or {}
    values = {name: put(data) for name, data in objects.items()}
    symbol_rows = bytes(24 if wide else 16)
    for name, data in objects.items():
        row = (text(name), 0x11, 0, 1, base + values[name], len(data))
        if wide:
            symbol_rows += struct.pack(order + "IBBHQQ", *row)
        else:
            symbol_rows += struct.pack(order + "IIIBBH", row[0], row[4], row[5], row[1], row[2], row[3])
    count = len(objects) + 1
    # One bucket: the chain runs through all symbols.
    chain = [*range(2, count), 0] if objects else []
    table = struct.pack(order + f"{4 + len(chain)}I", 1, count, 1 if objects else 0, 0, *chain)
    tags = [(1, text(name)) for name in needed]
    tags += [(14, text(soname))] if soname else []
    tags += [(15, text(rpath))] if rpath else []
    tags += [(29, text(runpath))] if runpath else []
    tags += [(6, base + put(symbol_rows)), (4, base + put(table))]
    tags += [(0x6FFFFFFE, base + put(bytes(need))), (0x6FFFFFFF, len(verneed))] if verneed else []
    tags += [(0x6FFFFFFC, base + put(bytes(define))), (0x6FFFFFFD, len(names))] if verdef else []
    tags += [(5, base + put(bytes(strings))), (10, len(strings)), (0, 0)]
    table_bytes = b"".join(struct.pack(order + ("qQ" if wide else "iI"), *tag) for tag in tags)
    at_dynamic, at_interp = put(table_bytes), put(interp.encode() + b"\0")
    note = struct.pack(order + "III", 4, len(build_id), 3) + b"GNU\0" + build_id
    at_note = put(note)
    body += payload
    rows = [(1, 0, len(body))]
    rows += [(3, at_interp, len(interp) + 1)] if interp else []
    rows += [(2, at_dynamic, len(table_bytes))] if dynamic else []
    rows += [(4, at_note, len(note))] if build_id else []
    headers = b""
    for kind, offset, size in rows:
        if wide:
            headers += struct.pack(order + "IIQQQQQQ", kind, 4, offset, base + offset, 0, size, size, 8)
        else:
            headers += struct.pack(order + "IIIIIIII", kind, offset, base + offset, 0, size, size, 4, 8)
    ident = b"\x7fELF" + bytes((2 if wide else 1, 1 if order == "<" else 2, 1)) + bytes(9)
    layout = order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH")
    size, each = (64, 56) if wide else (52, 32)
    fields = struct.pack(layout, TYPES[type], number, 1, 0, size, 0, flags, size, each, len(rows), 0, 0, 0)
    return bytes(ident + fields + headers + body[size + len(headers) :])
