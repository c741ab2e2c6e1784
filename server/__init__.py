"""How people reach it: the HTTP API and the command line."""
