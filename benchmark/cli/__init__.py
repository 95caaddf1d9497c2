"""`ganbench VERB`: one verb, one thin function over the public API."""
