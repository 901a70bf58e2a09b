"""Ask questions of millions of images: the library that every worker imports.

Importing this package is light: no torch, no Ray, no file is opened.
"""

__version__ = "0.1.0"
