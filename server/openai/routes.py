"""The routes of OpenAI's API, for any of its clients."""

from fastapi import APIRouter

from server.openai import chat, models, responses
from server.openai.errors import ErrorBody

router = APIRouter(
    prefix="/v1", tags=["openai"], responses={"default": {"model": ErrorBody, "description": "An error."}}
)
for routes in (chat, responses, models):
    router.include_router(routes.router)
