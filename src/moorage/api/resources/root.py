"""The version document at the root, which anybody may read."""

from typing import Final

import orjson

from moorage.api.call import Call, Reply
from moorage.api.microversions.contract import NEWEST, OLDEST

_DOCUMENT: Final = orjson.dumps(
    {
        "versions": [
            {
                "id": f"v{OLDEST.version}",
                "max_version": NEWEST.version,
                "min_version": OLDEST.version,
                "status": "CURRENT",
                # Relative, so that the service need not know by which name it is reached.
                "links": [{"rel": "self", "href": ""}],
            }
        ]
    }
)


def handle_show_root(call: Call) -> Reply:
    """Tell which versions there are."""
    return Reply(200, _DOCUMENT, call.modified_now())
