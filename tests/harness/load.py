"""Finds the scenario tests."""
import fnmatch
import functools
import importlib.util
import inspect
import sys

from .rundir import PROJECT


def wanted(name, patterns):
    return not patterns or any(p in name or fnmatch.fnmatch(name, p) for p in patterns)


@functools.cache
def _all():
    found = []
    for path in sorted((PROJECT / "tests" / "scenario").glob("*/scenario.py")):
        folder = path.parent
        spec = importlib.util.spec_from_file_location(f"scenario_{folder.name}", path)
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(folder))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(folder))
        functions = [f for n, f in vars(module).items() if n.startswith("test_") and inspect.isfunction(f)]
        found += [(f"{folder.name}/{f.__name__.removeprefix('test_')}", folder, f) for f in functions]
    return found


def scenarios(patterns):
    """[(name, folder, function)] in the order of folders and of the functions in their file."""
    return [entry for entry in _all() if wanted(entry[0], patterns)]
