"""The crash storm: mixed load, random deaths, and what must hold afterwards. See docs/storm.md; tests/storm is its command."""
