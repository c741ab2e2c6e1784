"""Files of the web page, sent as they are."""
