"""Rewrites a saved Core ML package so that the same program has the same bytes, whenever and wherever it is saved.

coremltools 9.0 saves protobuf maps in the order of a hash table that is seeded anew in each process, the day of the
conversion, and a manifest whose items have random identifiers. What is left depends on the program alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

_DAY = "com.github.apple.coremltools.conversion_date"  # of the metadata that Xcode shows


def make_canonical(package: Path) -> None:
    """Rewrite the .mlpackage folder `package` in place; it holds what it held, but for the day it was made on."""
    import coremltools as ct

    path = package / "Manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    items, root = manifest["itemInfoEntries"], manifest["rootModelIdentifier"]
    specification = ct.utils.load_spec(str(package))
    specification.description.metadata.userDefined.pop(_DAY, None)
    (package / "Data" / items[root]["path"]).write_bytes(specification.SerializeToString(deterministic=True))

    # they tell the items of one package apart, and nothing else
    identifiers = {key: str(uuid5(NAMESPACE_URL, item["path"])) for key, item in items.items()}
    manifest["itemInfoEntries"] = {identifiers[key]: item for key, item in items.items()}
    manifest["rootModelIdentifier"] = identifiers[root]
    path.write_bytes((json.dumps(manifest, indent=4, sort_keys=True) + "\n").encode())
