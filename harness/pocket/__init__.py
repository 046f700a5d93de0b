"""Tiny models that the project trains itself on data it makes: the default suite, with nothing to download."""
