"""The server: HTTP and websockets in front of the engine."""
