"""What Git LFS leaves in place of a large file that was not fetched."""

from __future__ import annotations

POINTER = b"version https://git-lfs"
"""The beginning of such a file."""
