"""The service: who runs it, and squares of numbers."""

import os
import platform

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def about() -> dict[str, object]:
    """Where this runs."""
    return {"python": platform.python_version(), "uid": os.getuid()}


@app.get("/square/{number}")
def square(number: int) -> dict[str, int]:
    """The square of a number."""
    return {"square": number * number}


def main() -> None:
    """Serve on port 8000 until told to stop."""
    uvicorn.run(app, host="0.0.0.0", port=int(os.environ.get("PORT", "8000")), log_level="info")
