"""The paths of a RECORD, and an SBOM that lists them."""

import json
import posixpath

from factories.base import make_base
from hypothesis import given
from hypothesis import strategies as st

from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform
from dpbuild.stages.evidence.sbom import combined, sbom, serial
from dpbuild.stages.inventory import Inventory, InventoryContents
from dpbuild.stages.proof.owners import recorded

_PARTS = st.lists(st.sampled_from(["a", "b.py", ".", "..", "...", "", ".c", "d."]), min_size=1, max_size=6)
IMAGE = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=Digest("0" * 64), size=1)
RECORD = '../../bin/x,sha256=1,1\n"odd, ""name"".py",,\nx.py,,\n\n,,\nx-1.dist-info/RECORD,,\n'


@given(_PARTS, st.sampled_from(["/", "/site", "/usr/lib/site"]))
def test_each_is_what_joining_and_normalising_makes_of_it(parts: list[str], site: str) -> None:
    path = "/".join(parts)
    expected = [posixpath.normpath(posixpath.join(site, path))] if path else []
    assert list(recorded(site, [f"{path},,"])) == expected


def test_a_document_is_canonical_and_its_serial_number_is_of_the_rest() -> None:
    entries = [
        Entry(path="a/site/x-1.dist-info/METADATA", kind=Kind.FILE, mode=0o644),
        Entry(path="a/site/x-1.dist-info/RECORD", kind=Kind.FILE, mode=0o644),
        Entry(path='a/site/odd, "name".py', kind=Kind.FILE, mode=0o644),
        Entry(path="bin/x", kind=Kind.FILE, mode=0o755),
    ]
    tree = FileTree.of([entries])
    told = {0: b"Name: x\nVersion: 1\nSummary: \xc3\xa4\n\nVersion: 2", 1: RECORD.encode()}
    contents = InventoryContents(tree, (Inventory({number: f"{number}" * 64 for number in range(4)}, told),))
    config = make_base().config

    one = sbom(IMAGE, Platform("linux", "amd64"), config, tree, contents, None)
    for data in (one, combined(IMAGE, [one])):
        value = json.loads(data)
        assert data == canonical(value)
        assert value.pop("serialNumber") == serial(canonical(value))
    (found,) = json.loads(one)["components"]
    assert (found["version"], found["description"]) == ("1", "ä")
    assert [row["name"] for row in found["components"]] == [
        '/a/site/odd, "name".py',
        "/a/site/x-1.dist-info/RECORD",
        "/bin/x",
    ]
