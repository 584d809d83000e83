"""Keys that the format of an example does not have: what each says, where it belongs, and what can be left out.

`find.other_keys` says for every such key what will become of it; checks report it and fixes do it. `move.moved` moves
those that have a place.
"""
