"""Importing the client loads none of the service."""

import subprocess
import sys


def test_importing_the_client_loads_nothing_of_the_service() -> None:
    heavy = ("faiss", "numpy", "torch", "sqlalchemy", "sentence_transformers", "fastapi", "server.service")
    code = f"import sys, server.client\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
