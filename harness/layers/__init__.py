"""`moebench layer`: one sparse layer timed beside dense feed-forwards of its active and of its total width."""
