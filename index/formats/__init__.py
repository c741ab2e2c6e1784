"""File readers for user histories, one module per format.

A reader yields documents and, in place of each invalid item, an InvalidDocument with its line; the caller
decides how to handle those. What a format leaves out on purpose is Skipped, with the reason. To add a format,
write its module and register it in FORMATS.
"""

from collections.abc import Mapping

from index.formats.calendar import ICS
from index.formats.chatgpt import CHATGPT
from index.formats.claude import CLAUDE
from index.formats.contacts import VCARD
from index.formats.csv import CSV, TSV, read_csv
from index.formats.discord import DISCORD
from index.formats.items import ITEM_CHARACTERS
from index.formats.json import JSON, read_json
from index.formats.locomo import LOCOMO, locomo_date, read_locomo
from index.formats.mail import MAIL, MBOX
from index.formats.members import Member, Members, opened_members
from index.formats.ndjson import NDJSON, read_ndjson
from index.formats.notes import MARKDOWN
from index.formats.office import DOCX, PDF
from index.formats.people import LIFEBENCH, LONGMEMEVAL, PERSONAMEM
from index.formats.recognition import Claim, Recognition, read, recognize
from index.formats.signal import SIGNAL, SIGNAL_TEXT
from index.formats.slack import SLACK
from index.formats.sms import SMS
from index.formats.source import Beginning, Documents, Format, Items, Options, Skipped, Source
from index.formats.takeout import ACTIVITY, ACTIVITY_PAGE, KEEP
from index.formats.telegram import TELEGRAM
from index.formats.webpages import WEB_PAGE
from index.formats.whatsapp import WHATSAPP
from index.formats.xlsx import XLSX

__all__ = [
    "FORMATS",
    "ITEM_CHARACTERS",
    "Beginning",
    "Claim",
    "Documents",
    "Format",
    "Items",
    "Member",
    "Members",
    "Options",
    "Recognition",
    "Skipped",
    "Source",
    "locomo_date",
    "opened_members",
    "read",
    "read_csv",
    "read_json",
    "read_locomo",
    "read_ndjson",
    "recognize",
]

FORMATS: Mapping[str, Format] = {
    found.name: found
    for found in (
        WHATSAPP,
        TELEGRAM,
        SIGNAL,
        SIGNAL_TEXT,
        SLACK,
        DISCORD,
        CHATGPT,
        CLAUDE,
        SMS,
        MBOX,
        ICS,
        VCARD,
        ACTIVITY,
        ACTIVITY_PAGE,
        KEEP,
        MAIL,
        MARKDOWN,
        PDF,
        DOCX,
        WEB_PAGE,
        LOCOMO,
        LIFEBENCH,
        LONGMEMEVAL,
        PERSONAMEM,
        NDJSON,
        JSON,
        CSV,
        TSV,
        XLSX,
    )
}
"""The first that recognizes a file reads it, so the particular come before the general."""
