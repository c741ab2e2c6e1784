"""The web page, whose script is a client of the API like any other."""
