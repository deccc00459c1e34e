"""The specs: one TOML file per algorithm, read by :mod:`optconform.spec`."""
