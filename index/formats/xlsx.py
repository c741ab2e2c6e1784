"""Reads Excel workbooks: the first row of each sheet names the columns, as in a CSV file."""

import io
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from index.dates import STRICT, Style
from index.errors import InvalidDocument, UnreadableImport
from index.formats.columns import dates_of, row_fields, table_fields
from index.formats.items import parsed
from index.formats.kinds import office
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

WORKBOOK_BYTES = 64 * 2**20


def read_xlsx(data: bytes, columns: Mapping[str, str] | None = None, dates: Style = STRICT) -> Items:
    """Yield the documents of all sheets; rows count from 1 in each, the header included.

    Raises InvalidDocument for a workbook that cannot be read, and if no sheet has the columns.
    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise UnreadableImport("Excel workbooks need an extra: pip install 'pr2[files]'") from None
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = {name: workbook.get_sheet_by_name(name) for name in workbook.sheet_names}
    except CalamineError as error:
        raise InvalidDocument(f"not a readable Excel workbook: {error}") from None
    refusal: InvalidDocument | None = None
    mapped = 0
    for name, sheet in sheets.items():
        rows = sheet.iter_rows()
        header = [str(_value(cell)) for cell in next(rows, [])]
        try:
            mapping = table_fields(header, columns or {})
        except InvalidDocument as error:
            refusal = refusal or error
            yield Skipped("a sheet without the columns", name)
            continue
        mapped += 1
        first = (sheet.start or (0, 0))[0] + 1
        for number, cells in enumerate(rows, first + 1):
            values = [_value(cell) for cell in cells]
            if any(value != "" for value in values):
                yield parsed(row_fields(dict(zip(header, values, strict=True)), mapping, dates), number)
    if not mapped and refusal is not None:
        raise refusal


def _value(cell: Any) -> Any:
    """Return a cell as text, number or time. The library gives whole numbers as floats."""
    match cell:
        case float() if cell.is_integer():
            return int(cell)
        case datetime() | bool() | int() | float() | str():
            return cell
        case date():
            return datetime(cell.year, cell.month, cell.day)
        case time() | timedelta():
            return str(cell)
    return ""


def _read(member: Member, options: Options) -> Items:
    if member.size > WORKBOOK_BYTES:
        raise InvalidDocument(f"longer than {WORKBOOK_BYTES // 2**20} MB: save it as CSV")
    with member.open() as stream:
        data = stream.read()
    try:
        yield from read_xlsx(data, options.columns, dates_of(options))
    except InvalidDocument as error:
        # In a folder, a workbook may be anything. One that was asked for has to be readable.
        if member.alone or options.columns:
            raise
        yield Skipped(f"an Excel workbook: {error}", member.name)


def _recognizes(beginning: Beginning) -> bool:
    return office(beginning.data) == "an Excel workbook"


XLSX = Format(
    "xlsx",
    "Excel workbook",
    each(_read),
    recognizes=_recognizes,
    suffix=".xlsx",
    takes_columns=True,
    exported=False,
)
