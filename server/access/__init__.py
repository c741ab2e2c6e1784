"""Access control: the one gate in front of the service for REST, OpenAI, MCP and the command line."""
