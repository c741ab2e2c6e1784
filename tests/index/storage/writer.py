"""Changes a store in every way until it is killed, while others search it. For test_crash.py."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from index.documents import Document
from index.encoding.embedding import reembed
from index.errors import EncoderMismatch, StoreUnavailable, UnknownDocument, UnknownUser
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder

ENCODERS = {"hash": HashEncoder(), "other": HashEncoder("other", 8)}
USERS = ("ana", "bo", "cleo")
WORDS = "tea coffee garden walk sea train letter piano rain bread".split()

State = dict[str, dict[str, str]]
"""Texts of the documents by user and id."""


@dataclass(frozen=True)
class Change:
    """One acknowledged write: `kind` is put, delete, erase or reembed."""

    kind: str
    user: str = ""
    documents: tuple[tuple[str, str], ...] = ()
    encoder: str = ""

    def applied(self, state: State) -> State:
        """The state after this change."""
        changed = {user: dict(documents) for user, documents in state.items()}
        match self.kind:
            case "put":
                changed.setdefault(self.user, {}).update(self.documents)
            case "delete":
                del changed[self.user][self.documents[0][0]]
            case "erase":
                del changed[self.user]
        return changed


def draw(dice: random.Random, state: State, encoder: str) -> Change:
    user = dice.choice(USERS)
    kind = dice.choices(["put", "delete", "erase", "reembed"], [10, 4, 1, 1])[0]
    if kind == "reembed":
        return Change(kind, encoder=next(name for name in ENCODERS if name != encoder))
    if not state.get(user):
        kind = "put"
    match kind:
        case "put":
            ids = dice.sample(range(40), dice.randint(1, 12))
            texts = [" ".join(dice.choices(WORDS, k=dice.randint(1, 30))) for _ in ids]
            documents = tuple((f"d{number}", text) for number, text in zip(ids, texts, strict=True))
        case "delete":
            documents = ((dice.choice(sorted(state[user])), ""),)
        case _:
            documents = ()
    return Change(kind, user, documents)


def work(url: str, state: State, encoder: str, seed: int, said: Connection) -> None:
    """Send each change before it begins, and None when it is acknowledged. Ends if the database goes away.

    A search that fails sends a string.
    """
    dice, sending = random.Random(seed), threading.Lock()

    def say(value: Change | str | None) -> None:
        with sending:
            said.send(value)

    store = Store(url, ENCODERS[encoder].manifest)
    current = [Profiles(store, ENCODERS[encoder])]
    for number in range(2):
        threading.Thread(target=_read, args=(current, seed + number, say), daemon=True).start()
    try:
        while True:
            change = draw(dice, state, encoder)
            say(change)
            match change.kind:
                case "put":
                    documents = [Document(id=name, text=text) for name, text in change.documents]
                    current[0].put(change.user, documents)
                case "delete":
                    current[0].delete_document(change.user, change.documents[0][0])
                case "erase":
                    current[0].erase(change.user)
                case "reembed":
                    encoder = change.encoder
                    reembed(store, ENCODERS[encoder])
                    current[0] = Profiles(store, ENCODERS[encoder])
            say(None)
            state = change.applied(state)
    except StoreUnavailable:
        return


def _read(current: list[Profiles], seed: int, say: Callable[[str], None]) -> None:
    dice = random.Random(seed)
    while True:
        profiles, user = current[0], dice.choice(USERS)
        try:
            (found,) = profiles.search(user, [dice.choice(WORDS)], 3, "dense")
            for passage in found:
                profiles.store.document(user, passage.document_id)
        except (UnknownUser, UnknownDocument, EncoderMismatch):
            continue
        except StoreUnavailable:
            return
        except Exception as error:
            say(f"a search failed: {error!r}")
            return
