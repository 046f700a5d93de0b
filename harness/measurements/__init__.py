"""One module a kind of measurement: a loaded engine in, raw observations out."""
