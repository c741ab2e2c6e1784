"""Makes ids of documents from what identifies them in their app, so that a later export finds them again."""

import hashlib
import json


def made_from(*identity: str | int | None) -> str:
    """Return an id of 24 hexadecimal digits. Begin `identity` with the kind of item, like "mail"."""
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
