"""The version of this release: read by the build, by `apsis-nb version` and by the server."""

__version__ = "0.1.0"
