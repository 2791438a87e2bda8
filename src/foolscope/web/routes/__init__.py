"""The endpoints under /api/v1, one file a subject; docs/api.md describes them."""
