"""Routes for a person's documents: put, list, fetch, delete, search, export, erase."""

import codecs
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from index.documents import Document, check_name
from index.errors import InvalidDocument, StoreUnavailable
from index.formats import ITEM_CHARACTERS, Documents, read_json, read_ndjson
from index.values import Receipt
from server.http.bodies import (
    DOCUMENT,
    DocumentPage,
    PutResult,
    SearchRequest,
    SearchResults,
    upload_in_openapi,
)
from server.http.connection import while_connected
from server.http.paths import DocumentPath, DocumentQuery, OptionalDocumentQuery, UserPath
from server.http.state import Caller
from server.http.wire import JSONBody, encode

MB = 2**20
LINE_BYTES = ITEM_CHARACTERS
_PIECE_BYTES = MB // 4
_IN_MEMORY = 8 * MB
_LARGEST = 2**63 - 1

Upload = SpooledTemporaryFile[bytes]

router = APIRouter()


# Declared first: routes are tried in order, and this is the busiest.
@router.post("/search", tags=["search"], summary="Search", responses={200: {"model": SearchResults}})
async def search(request: Request, access: Caller, user: UserPath, body: SearchRequest) -> JSONBody:
    """The best passages for each query, one list each. All queries share one search."""
    if body.like is not None:
        found = await access.similar(user, body.like, body.k)
    else:
        searching = access.search(user, body.queries or [], body.k, body.retriever, body.period)
        found = await while_connected(request, searching)
    return JSONBody({"results": [[vars(passage) for passage in passages] for passages in found]})


@router.put(
    "/documents",
    tags=["documents"],
    summary="Insert or replace documents",
    responses={200: {"model": PutResult}},
    openapi_extra=upload_in_openapi(),
)
async def put_documents(
    request: Request,
    access: Caller,
    user: UserPath,
    on_error: Literal["fail", "skip"] = "fail",
    replace: bool = True,
) -> JSONBody:
    """Store all documents or, if one is invalid, none; with `on_error=skip` the invalid ones are left out.

    A 200 means that they are durable. Send NDJSON of any length, or a JSON array. With `replace=false`,
    nothing is stored if other contents are stored under one of the ids. The report names the first 100
    documents of each kind and counts all. If the client disconnects before all is stored, the import stops.
    """
    access.check("write", user)  # before the upload is read
    read = _reader(request)
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as upload:
        try:
            async for chunk in request.stream():
                await run_in_threadpool(upload.write, chunk)
            upload.seek(0)
        except OSError as error:
            raise StoreUnavailable(f"the disk cannot be used now: {error}") from error
        putting = access.put(user, read(upload), on_error=on_error, replace=replace)
        report = await while_connected(request, putting)
    return JSONBody(report.to_dict())


@router.get(
    "/documents",
    tags=["documents"],
    summary="List documents",
    responses={200: {"model": DocumentPage | Document}},
)
async def list_documents(
    access: Caller,
    user: UserPath,
    cursor: Annotated[
        int | None, Query(ge=0, le=_LARGEST, description="`next_cursor` of the previous page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    ids: OptionalDocumentQuery = None,
) -> JSONBody:
    """Documents in the order in which they were first put; with `id`, that document alone."""
    if ids is not None:
        return await get_document(access, user, check_name(ids[0]))
    after = -1 if cursor is None else cursor
    # One more than requested shows whether there is a next page.
    found = await access.page(user, after, limit + 1)
    page = found[:limit]
    return JSONBody(
        {
            "documents": [document.to_dict() for _, document in page],
            "next_cursor": str(page[-1][0]) if len(found) > limit else None,
        }
    )


@router.get(
    "/documents/{document_id:last_name}",
    tags=["documents"],
    summary="Fetch a document",
    responses={200: {"model": Document}},
)
async def get_document(access: Caller, user: UserPath, document_id: DocumentPath) -> JSONBody:
    return JSONBody((await access.document(user, document_id)).to_dict())


@router.delete(
    "/documents/{document_id:last_name}", tags=["documents"], summary="Delete a document", status_code=204
)
async def delete_document(access: Caller, user: UserPath, document_id: DocumentPath) -> Response:
    await access.delete_document(user, document_id)
    return Response(status_code=204)


# Without an id it is refused: it never deletes all documents.
@router.delete(
    "/documents", tags=["documents"], summary="Delete a document by query parameter", status_code=204
)
async def delete_queried_document(access: Caller, user: UserPath, ids: DocumentQuery) -> Response:
    return await delete_document(access, user, check_name(ids[0]))


@router.delete("", tags=["users"], summary="Erase a user", responses={200: {"model": Receipt}})
async def erase_user(access: Caller, user: UserPath) -> JSONBody:
    """Delete documents, vectors and answers, in the database and in memory.

    The receipt counts them, and names places that may still hold text of the user.
    """
    return JSONBody(vars(await access.erase(user)))


@router.get(
    "/export",
    tags=["users"],
    summary="Export a profile",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"itemSchema": DOCUMENT}}}},
)
async def export_profile(access: Caller, user: UserPath) -> StreamingResponse:
    """All documents, one per line, in the format that PUT accepts."""
    pages = access.pages(user)
    # Read before the response begins, because an unknown user is a 404.
    first: list[Document] = await anext(pages, [])
    return StreamingResponse(_lines(first, pages), media_type="application/x-ndjson")


async def _lines(
    page: list[Document], further: AsyncGenerator[list[Document], None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(further):
        yield _ndjson(page)
        async for page in further:
            yield _ndjson(page)


def _ndjson(page: list[Document]) -> bytes:
    return b"".join(encode(document.to_dict()) + b"\n" for document in page)


def _reader(request: Request) -> Callable[[Upload], Documents]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        return _READERS[media_type]
    except KeyError:
        given = f"not {media_type}" if media_type else "and say which in Content-Type"
        raise HTTPException(415, f"send {' or '.join(_READERS)}, {given}") from None


def _read_array(upload: Upload) -> Documents:
    try:
        yield from read_json(codecs.iterdecode(iter(partial(upload.read, _PIECE_BYTES), b""), "utf-8"))
    except UnicodeDecodeError:
        raise InvalidDocument("not JSON: not UTF-8") from None


def _read_lines(upload: Upload) -> Documents:
    return read_ndjson(_whole_lines(upload))


def _whole_lines(upload: Upload) -> Iterator[bytes]:
    number = 0
    while line := upload.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise InvalidDocument(f"longer than {LINE_BYTES // MB} MB", number)
        yield line


_READERS: Mapping[str, Callable[[Upload], Documents]] = {
    "application/x-ndjson": _read_lines,
    "application/json": _read_array,
}
