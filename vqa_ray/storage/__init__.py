"""Files on disks and object stores: URIs, atomic writes, errors."""
