"""Opens the path of `pr2 profile import` and finds its formats.

What cannot be read at all raises BadInput, UnreadableImport or InvalidDocument; a single bad item is left to
the caller.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.formats import FORMATS, Format, Options, Recognition, Source, opened_members, read, recognize
from server.cli.errors import BadInput

AUTO = "auto"
"""Recognizes the formats by content."""
STDIN = "-"


@contextmanager
def opened(
    path: str, form: str, options: Options
) -> Iterator[tuple[Recognition, list[tuple[Format, Source]]]]:
    """Find what is at `path`, which may be `-` for stdin, and open its sources. For LoCoMo, see
    `Options.user`."""
    try:
        with _on_disk(path) as found, opened_members(found) as members:
            recognition = recognize(members, FORMATS, None if form == AUTO else form)
            unmapped = [claim.form for claim in recognition.claims if not claim.form.takes_columns]
            if options.columns and unmapped:
                raise BadInput(
                    f"--map is for CSV, TSV, Excel and JSON; {path} is read as {unmapped[0].title}"
                )
            yield recognition, read(recognition, members, options)
    except OSError as error:
        if error.filename is None:
            raise
        raise BadInput(f"cannot read {path}: {error.strerror}") from None


@contextmanager
def _on_disk(path: str) -> Iterator[Path]:
    """The path itself; what can be read only once, such as a pipe, is copied first, since formats look
    twice."""
    found = Path(path)
    if path != STDIN and (found.is_file() or found.is_dir() or not found.exists()):
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="pr2-") as folder:
        copy = Path(folder, "stdin" if path == STDIN else found.name)
        with copy.open("wb") as target:
            if path == STDIN:
                shutil.copyfileobj(sys.stdin.buffer, target)
            else:
                with found.open("rb") as stream:
                    shutil.copyfileobj(stream, target)
        yield copy
