"""Names of release 0.1 that have moved, for scripts that import them; each warns, and all are gone in 0.3."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Modules that are gone → the one that holds their names.
_MODULES: Mapping[str, str] = {
    "vqa_ray.answers": "vqa_ray.text",
    "vqa_ray.boxes": "vqa_ray.models.generation.boxes",
    "vqa_ray.calibration_file": "vqa_ray.calibration.file",
    "vqa_ray.fetch": "vqa_ray.images.fetch",
    "vqa_ray.http_fetch": "vqa_ray.images.http",
    "vqa_ray.image_formats": "vqa_ray.images.formats",
    "vqa_ray.key_ranges": "vqa_ray.keys",
    "vqa_ray.models.families": "vqa_ray.models.registry",
    "vqa_ray.models.vocabulary": "vqa_ray.models.answer_vocabulary",
    "vqa_ray.predicate_text": "vqa_ray.predicates.parser",
    "vqa_ray.prompts": "vqa_ray.models.generation.prompts",
    "vqa_ray.resize": "vqa_ray.images.resize",
    "vqa_ray.retrieval": "vqa_ray.index",
    "vqa_ray.retrieval.index": "vqa_ray.index.reader",
    "vqa_ray.retrieval.query": "vqa_ray.index.search.query",
    "vqa_ray.retrieval.search": "vqa_ray.index.search.searcher",
    "vqa_ray.run": "vqa_ray.runs",
    "vqa_ray.run.commits": "vqa_ray.runs.commits",
    "vqa_ray.run.labelled": "vqa_ray.calibration.samples",
    "vqa_ray.run.manifest": "vqa_ray.runs.manifest",
    "vqa_ray.taxonomy_file": "vqa_ray.taxonomy.file",
}
# Modules that are there, but have given names away, or become packages → those that hold these names.
_HOMES: Mapping[str, Sequence[str]] = {
    "vqa_ray.images": ("vqa_ray.images.decoder",),
    "vqa_ray.models.checkpoint": ("vqa_ray.models.checkpoint.files", "vqa_ray.models.checkpoint.fingerprint"),
    "vqa_ray.models.load": ("vqa_ray.api.former",),
    "vqa_ray.predicates": ("vqa_ray.predicates.predicate",),
    "vqa_ray.readers.source": ("vqa_ray.readers.open",),
    "vqa_ray.storage": ("vqa_ray.storage.filesystem", "vqa_ray.storage.atomic", "vqa_ray.storage.uri"),
    "vqa_ray.taxonomy": ("vqa_ray.taxonomy.attribute", "vqa_ray.taxonomy.taxonomy"),
}


def getter(module: str) -> Callable[[str], object]:
    """Return the `__getattr__` (PEP 562) of a module whose names have moved."""

    def get(name: str) -> object:
        if not name.startswith("_"):
            for home in _HOMES[module]:
                found = importlib.import_module(home)
                if hasattr(found, name):
                    warn_of_former_name(f"{module}.{name}", f"{home}.{name}")
                    return getattr(found, name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return get


class FormerModules(MetaPathFinder, Loader):
    """Import a module under its name of release 0.1. It is asked last, for what nobody else finds."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the modules of the table."""
        if fullname not in _MODULES:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to the import system."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Give a module the names of the one that it stands for."""
        home = importlib.import_module(_MODULES[module.__name__])
        warn_of_former_name(module.__name__, home.__name__)
        vars(module).update({name: value for name, value in vars(home).items() if not name.startswith("__")})


def install() -> None:
    """Let former module names be imported; calling it again does nothing."""
    if not any(isinstance(finder, FormerModules) for finder in sys.meta_path):
        sys.meta_path.append(FormerModules())


def warn_of_former_name(former: str, name: str) -> None:
    """Warn whoever uses a name of release 0.1."""
    warnings.warn(f"{former} is called {name} now; the former name is gone in 0.3", DeprecationWarning, stacklevel=3)
