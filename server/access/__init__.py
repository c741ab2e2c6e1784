"""Who is asking, and what they may do: the one gate in front of the service for REST, OpenAI, MCP and CLI."""
